"""What `onnxwright quantize` takes of time and memory for a model of the size of BERT base, beside its peers.

Claimed: it quantizes such a model within two minutes, and takes at most 3 times the weights of memory. Beside it stand
ONNX Runtime's `quantize_static` and, where it is installed, NNCF, each with as many samples. All are processes of
their own, in rounds that go each once in a random order; ratios are to ONNX Runtime, pair by pair. Memory is all that a
process and those that it started hold, read five times a second, in multiples of the weights.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import BertConfig, BertModel

from memory import SECONDS_BETWEEN, held
from record import ONNXWRIGHT, keep

SECONDS, WEIGHTS = 120.0, 3.0
SAMPLES, LENGTH = 48, 64
PEER = "ONNX Runtime quantize_static"
STATIC = """
import sys, numpy as np
from onnxruntime.quantization import CalibrationDataReader, quantize_static
class Samples(CalibrationDataReader):
    def __init__(self):
        found = np.load(sys.argv[2])
        self.left = iter([{name: found[name][row : row + 1] for name in found} for row in range(int(sys.argv[4]))])
    def get_next(self):
        return next(self.left, None)
quantize_static(sys.argv[1], sys.argv[3], Samples())
"""
NNCF = """
import sys, numpy as np, onnx, nncf
found = np.load(sys.argv[2])
rows = [{name: found[name][row : row + 1] for name in found} for row in range(int(sys.argv[4]))]
made = nncf.quantize(onnx.load(sys.argv[1]), nncf.Dataset(rows), model_type=nncf.ModelType.TRANSFORMER)
onnx.save(made, sys.argv[3])
"""


class Cost(NamedTuple):
    """Seconds, and the most memory in multiples of the weights."""

    seconds: float
    weights: float


def cost(command: Sequence[str], weights: int) -> Cost | None:
    """Runs a command to its end; returns nothing where it fails."""
    begun, most = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            most = max(most, held(process.pid).whole)
            time.sleep(SECONDS_BETWEEN)
        assert process.stderr is not None
        if process.returncode:
            print(f"failed: {process.stderr.read()[-300:]}")
            return None
    return Cost(time.perf_counter() - begun, most / weights)


def prepare(place: Path) -> tuple[Path, Path]:
    """Writes a graph of a random BERT base, and samples."""
    torch.manual_seed(0)
    model, graph, samples = BertModel(BertConfig()).eval(), place / "bert.onnx", place / "samples.npz"
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids = np.random.default_rng(0).integers(1000, 20000, (2 * SAMPLES, LENGTH))
    np.savez(samples, input_ids=ids, attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))
    feeds = tuple(torch.from_numpy(array[:2]) for array in (ids, np.ones_like(ids), np.zeros_like(ids)))
    axes = {name: {0: "batch", 1: "sequence"} for name in (*names, "states")}
    torch.onnx.export(
        model,
        feeds,
        str(graph),
        dynamo=False,
        input_names=list(names),
        output_names=["states", "pooled"],
        dynamic_axes=axes,
    )
    return graph, samples


def main() -> None:
    """Compares, and keeps the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds, draw = parser.parse_args().rounds, random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        graph, samples = prepare(place)
        weights = graph.stat().st_size
        ours = [ONNXWRIGHT, "quantize", str(graph), "-o", str(place / "out"), "--force", "--samples", str(samples)]
        sizes = ["--batch", "1", "2", "4", "--sequence", "1", str(LENGTH), str(LENGTH)]
        given = [str(graph), str(samples), str(place / "peer.onnx"), str(SAMPLES)]
        ways = {
            "onnxwright quantize": [
                *ours,
                *sizes,
                "--precision",
                "int8-static",
                "--engine",
                "openvino",
                "--max-accuracy-loss",
                "1",
                "--no-measure",
                "--proof",
                "quick",
            ],
            PEER: [sys.executable, "-c", STATIC, *given],
            "NNCF": [sys.executable, "-c", NNCF, *given],
        }
        found: dict[str, list[Cost]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name in draw.sample(list(ways), len(ways)):
                taken = cost(ways[name], weights)
                if taken is not None:
                    found[name].append(taken)
                    print(name, taken, flush=True)
    for name, many in found.items():
        for one, peer in zip(many, found[PEER], strict=False):
            print(f"{name}: {one.seconds / peer.seconds:.2f}× the time of {PEER}, {one.weights:.2f}× the weights")
    keep("quantize_cost", {"limits": {"seconds": SECONDS, "weights": WEIGHTS}, "ways": found})


if __name__ == "__main__":
    main()
