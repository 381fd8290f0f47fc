"""Every engine side by side on MiniLM: torch eager and compiled, ONNX Runtime, OpenVINO in float32 and bfloat16.

All answer the same: token states, and their masked mean scaled to length one. Ratios are to torch eager, pair by
pair; beside each stands the largest error of any output, relative to the output's own scale.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel

from onnxwright import environment
from onnxwright.artifact import Package
from onnxwright.backends import Array, Options, Ran, Session, Tensors, engine
from onnxwright.errors import EngineError
from onnxwright.manifest import Measurement
from onnxwright.profile import Profile
from onnxwright.signature import Signature
from onnxwright.stages.measure import Plan, in_words, measure, shapes
from onnxwright.tasks.embedding import HIDDEN_STATES, SENTENCE_EMBEDDING
from record import ONNXWRIGHT, keep, minilm

BASELINE = "torch eager"
ENGINES = (("onnxruntime", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))


class Embedder(nn.Module):
    """What the sentence-transformers recipe computes, written by hand."""

    def __init__(self, folder: Path):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        """Answers the token states and the sentence's vector."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        states: Tensor = self.encoder(**inputs).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return {HIDDEN_STATES: states, SENTENCE_EMBEDDING: nn.functional.normalize(mean, dim=1)}


class TorchSession:
    """A torch callable as a session; it answers what the graph answers."""

    def __init__(self, name: str, call: Callable[..., dict[str, Tensor]], outputs: tuple[str, ...]):
        self._call = call
        self._outputs = outputs
        self.ran = Ran(name, str(torch.__version__), "cpu", "float32", torch.get_num_threads())

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`."""
        with torch.inference_mode():
            answer = self._call(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        return {name: answer[name].numpy() for name in self._outputs}


def convert(folder: Path, out: Path) -> Package:
    """Converts with the command, as a user would."""
    command = [ONNXWRIGHT, "convert", str(folder), "-o", str(out), "--no-measure"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Package.open(out)


def sessions(folder: Path, package: Package) -> dict[str, Session]:
    """Prepares everything that can run here, and says what can't."""
    threads = environment.cores()
    torch.set_num_threads(threads)
    outputs = package.signature.output_names
    module = Embedder(folder).eval()
    found: dict[str, Session] = {
        BASELINE: TorchSession(BASELINE, module, outputs),
        "torch.compile": TorchSession("torch.compile", torch.compile(module, dynamic=False), outputs),
    }
    for name, precision in ENGINES:
        try:
            found[f"{name} {precision}"] = engine(name).prepare(package.file(), Options(threads, precision))
        except EngineError as reason:
            print(f"{name} {precision}: not run: {reason}")
    return found


def feeds(signature: Signature, sizes: dict[str, int]) -> Tensors:
    """Makes a full batch of random tokens."""
    draw = np.random.default_rng(0)
    shape = (sizes["batch"], sizes["sequence"])
    made = {
        "input_ids": draw.integers(1000, 30000, shape),
        "attention_mask": np.ones(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
    }
    return {name: made[name] for name in signature.input_names}


def show(found: dict[str, Measurement]) -> None:
    """Prints a row for each session and shape."""
    for name, measured in found.items():
        for at in measured.latencies:
            shape = "×".join(map(str, at.sizes.values()))
            times = f"{at.median_ms:8.2f} ms (p95 {at.p95_ms:.2f}, p99 {at.p99_ms:.2f}, n {at.runs})"
            low, high = at.speedup_interval
            print(f"{name:20} {shape:>6}: {times}  {in_words(at)} [{low:.2f} – {high:.2f}]  error {measured.error:.1e}")


def main() -> None:
    """Measures, prints, and keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240.0)
    plan = Plan(runs=100, seconds=parser.parse_args().seconds)
    with tempfile.TemporaryDirectory() as out:
        package = convert(minilm(), Path(out) / "package")
        compared = sessions(minilm(), package)
        sizes = shapes(Profile(batch=(1, 8, 32), sequence=(1, 128, 512)))
        inputs = [(at, feeds(package.signature, at)) for at in sizes]
        for _, tensors in inputs:
            compared["torch.compile"].run(tensors)
        found = measure(compared, inputs, baseline=BASELINE, plan=plan)
    show(found)
    rows: dict[str, Any] = {name: msgspec.to_builtins(measured) for name, measured in found.items()}
    keep("engines", {"model": "all-MiniLM-L6-v2", "threads": environment.cores(), "rows": rows})


if __name__ == "__main__":
    main()
