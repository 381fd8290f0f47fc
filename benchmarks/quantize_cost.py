"""What `onnxwright quantize` takes of time and memory for a model of the size of BERT base, beside its peers.

Claimed: it quantizes such a model within two minutes, and holds at most 3 times the weights in memory of its own, that
is without pages of files, which the system takes back where it needs them. Beside it stand the search among all
recipes, ONNX Runtime's `quantize_static` and, where it is installed, NNCF, with as many samples.
All are processes of their own, in rounds that go each once in a random order; ratios are to ONNX Runtime, pair by pair.
Memory is what a process and those that it started hold, read five times a second, in multiples of the weights: of
their own, and with what they have mapped of files.
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
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from memory import SECONDS_BETWEEN, held
from record import ONNXWRIGHT, in_rounds, keep

SECONDS, WEIGHTS = 120.0, 3.0
SAMPLES, LEAST, LENGTH = 48, 32, 64
"""Scales that are fixed for texts of one length hold for a single token in no model of random weights."""
OURS, PEER = "onnxwright quantize", "ONNX Runtime quantize_static"
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


class Encoder(nn.Module):
    """A BERT of random weights that answers two tensors to three."""

    def __init__(self, layers: int):
        super().__init__()
        self.encoder = BertModel(BertConfig(num_hidden_layers=layers))

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        """Answers the token states, and the first one pooled."""
        answered = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=types)
        return answered.last_hidden_state, answered.pooler_output


class Cost(NamedTuple):
    """Seconds, and the most memory in multiples of the weights: of its own, and all."""

    seconds: float
    own: float
    whole: float


def cost(command: Sequence[str], weights: int) -> Cost | None:
    """Runs a command to its end; returns nothing where it fails."""
    begun, own, whole = time.perf_counter(), 0, 0
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as process:
            while process.poll() is None:
                now = held(process.pid)
                own, whole = max(own, now.own), max(whole, now.whole)
                time.sleep(SECONDS_BETWEEN)
        if process.returncode:
            said.seek(0)
            print(f"failed: {said.read().decode(errors='replace')[-600:]}")
            return None
    return Cost(time.perf_counter() - begun, own / weights, whole / weights)


def prepare(place: Path, layers: int) -> tuple[Path, Path]:
    """Writes a graph of a random BERT, and samples."""
    torch.manual_seed(0)
    model, graph, samples = Encoder(layers).eval(), place / "bert.onnx", place / "samples.npz"
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids = np.random.default_rng(0).integers(1000, 20000, (2 * SAMPLES, LENGTH))
    np.savez(samples, input_ids=ids, attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))
    feeds = tuple(torch.from_numpy(array[:2]) for array in (ids, np.ones_like(ids), np.zeros_like(ids)))
    axes = {name: {0: "batch", 1: "sequence"} for name in (*names, "states")}
    axes["pooled"] = {0: "batch"}
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


def ways(graph: Path, samples: Path, place: Path) -> dict[str, list[str]]:
    """Returns what is compared: the command that quantizes in one way, the whole search, and the peers."""
    ours = [ONNXWRIGHT, "quantize", str(graph), "-o", str(place / "out"), "--force", "--samples", str(samples)]
    sizes = ["--batch", "1", "2", "4", "--sequence", str(LEAST), str(LENGTH), str(LENGTH), "--engine", "openvino"]
    one = ["--precision", "int8-static", "--max-accuracy-loss", "1", "--no-measure", "--proof", "quick"]
    given = [str(graph), str(samples), str(place / "peer.onnx"), str(SAMPLES)]
    return {
        OURS: [*ours, *sizes, *one],
        "onnxwright quantize, all recipes measured": [*ours, *sizes, "--max-accuracy-loss", "0.01"],
        PEER: [sys.executable, "-c", STATIC, *given],
        "NNCF": [sys.executable, "-c", NNCF, *given],
    }


def main() -> None:
    """Compares, and keeps the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ways", nargs="+", help="parts of the names of those to compare; all unless given")
    parser.add_argument(
        "--layers", type=int, default=12, help="12 as BERT base; results are kept of that, and of all ways"
    )
    arguments, draw = parser.parse_args(), random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        graph, samples = prepare(place, arguments.layers)
        known, weights = ways(graph, samples, place), graph.stat().st_size
        wanted = arguments.ways or list(known)
        commands = {name: words for name, words in known.items() if any(part in name for part in wanted)}
        found: dict[str, list[Cost]] = {name: [] for name in commands}
        for name in in_rounds(commands, arguments.rounds, draw):
            taken = cost(commands[name], weights)
            if taken is not None:
                found[name].append(taken)
                print(name, taken, flush=True)
    for name, many in found.items():
        for one, peer in zip(many, found.get(PEER, ()), strict=False):
            held_of = f"{one.own:.2f}× the weights of its own, {one.whole:.2f}× with files"
            print(f"{name}: {one.seconds / peer.seconds:.2f}× the time of {PEER}, {held_of}")
    if arguments.layers == BertConfig().num_hidden_layers and not arguments.ways:
        keep("quantize_cost", {"limits": {"seconds": SECONDS, "weights": WEIGHTS}, "ways": found})


if __name__ == "__main__":
    main()
