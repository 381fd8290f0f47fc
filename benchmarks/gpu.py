"""MiniLM on a GPU: torch eager and compiled, ONNX Runtime's CUDA and TensorRT providers, and TensorRT, in float16.

Tensors lie on the GPU before and after each call, so that nothing but the model is timed; a call ends when the GPU is
done. Times are absolute, with the machine and the versions. Without a GPU it says so, and exits with 2;
`--device cpu` runs the same program on the CPU in float32, at whatever sizes: that is for its test.
"""

from __future__ import annotations

import argparse
import functools
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from engines import Embedder
from onnxwright import backends, environment
from onnxwright.artifact import Package
from onnxwright.backends import Array, DeviceSession, Options
from onnxwright.errors import EngineError
from onnxwright.graph.optimizing import apply
from onnxwright.graph.reading import read_model
from onnxwright.graph.saving import save_model
from onnxwright.graph.targets import target
from onnxwright.nvidia.orders import Shaped, Shapes
from onnxwright.nvidia.placed import Placed
from onnxwright.nvidia.providers import CPU, ProviderSession
from onnxwright.tolerance import distance
from optimize import ours
from record import ONNXWRIGHT, keep, minilm, seconds

SHAPES: Final = ("1x128", "8x128", "32x512")
ENGINES: Final = ("onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx")
REWRITTEN_FOR: Final = ENGINES[0]
EAGER: Final = "torch eager"
WARM_UP: Final = 5

Feeds = dict[str, Tensor]
Call = Callable[[Feeds], Mapping[str, Any]]


@dataclass(frozen=True)
class Machine:
    """Where everything runs, and in which type."""

    device: str
    dtype: torch.dtype

    def wait(self) -> None:
        """Waits until the device is done."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def describe(self) -> dict[str, str]:
        """Says what the device is."""
        if self.device != "cuda":
            return {"device": environment.processor()}
        name, compute = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        return {"device": name, "compute_capability": ".".join(map(str, compute)), "cuda": str(torch.version.cuda)}


@dataclass(frozen=True)
class Timed:
    """One way to run the model at one shape: how long it took each time, and how far it is from float32."""

    name: str
    shape: str
    milliseconds: Sequence[float]
    error: float

    @property
    def median_ms(self) -> float:
        """The time of the call in the middle."""
        return median(self.milliseconds)

    def percentile_ms(self, share: float) -> float:
        """The time within which such a share of the calls ended."""
        return sorted(self.milliseconds)[min(len(self.milliseconds) - 1, int(share * len(self.milliseconds)))]


def missing(device: str) -> str | None:
    """Says in one line what is missing to run on a device."""
    if device == "cpu" or torch.cuda.is_available():
        return None
    return f"no GPU: torch {torch.__version__} (CUDA {torch.version.cuda}) sees none. Run it on a machine with one."


def torch_calls(module: nn.Module, machine: Machine) -> dict[str, Call]:
    """Returns PyTorch's own ways to run a module."""
    placed = module.to(machine.device, machine.dtype).eval()
    compiled = torch.compile(placed, dynamic=False)
    return {EAGER: _without_gradients(placed), "torch.compile": _without_gradients(compiled)}


def _without_gradients(module: Callable[..., Any]) -> Call:
    def call(feeds: Feeds) -> Mapping[str, Any]:
        with torch.inference_mode():
            answered: Mapping[str, Any] = module(**feeds)
            return answered

    return call


def rewritten(file: Path, out: Path, engine: str) -> dict[str, Path]:
    """Returns what our plans for an engine that rewrite the most make of a graph, by their names."""
    found: dict[str, Path] = {}
    given = read_model(file)
    for name, plan in ours(given, engine):
        if plan.doubtful or "attention" in plan.name:
            found[name] = out / f"{len(found)}.onnx"
            save_model(apply(given, plan, target(engine))[0], found[name])
    return found


def engine_calls(
    file: Path, plans: Mapping[str, Path], machine: Machine, shaped: Shaped
) -> tuple[dict[str, Call], dict[str, str]]:
    """Returns the engines that can run a graph on the device, and why the others can't.

    What was rewritten for ONNX Runtime, by plan, runs in that alone.
    """
    if machine.device == "cpu":
        graphs = {"onnxruntime by its CPU provider": file, **plans}
        return {name: ProviderSession(graph, CPU, Options(1)).run_on_device for name, graph in graphs.items()}, {}
    calls: dict[str, Call] = {}
    reasons: dict[str, str] = {}
    for name, graph in {**dict.fromkeys(ENGINES, file), **plans}.items():
        engine = REWRITTEN_FOR if name in plans else name
        try:
            session = backends.engine(engine).prepare(graph, Options(environment.cores(), shapes=shaped))
        except EngineError as reason:
            reasons[name] = str(reason)
            continue
        assert isinstance(session, DeviceSession), "engines for GPUs are"
        calls[name] = session.run_on_device
    return calls, reasons


def drawn(shape: str, vocabulary: int, device: str) -> Feeds:
    """Draws a full batch of tokens, on the device."""
    draw = torch.Generator().manual_seed(0)
    sizes = tuple(map(int, shape.split("x")))
    tokens = torch.randint(0, vocabulary, sizes, generator=draw)
    every = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "token_type_ids": torch.zeros_like(tokens)}
    return {name: tensor.to(device) for name, tensor in every.items()}


def shaped_for(shapes: Sequence[str], names: Sequence[str]) -> Shaped:
    """Returns the profile that holds all shapes, for engines that are built for one."""
    sizes = [tuple(map(int, shape.split("x"))) for shape in shapes]
    least, most = (tuple(end(axis) for axis in zip(*sizes, strict=True)) for end in (min, max))
    return {name: Shapes(least, sizes[len(sizes) // 2], most) for name in names}


def compare(
    calls: Mapping[str, Call], feeds: Mapping[str, Feeds], exact: Call, machine: Machine, rounds: int
) -> list[Timed]:
    """Times every call at every shape, in an order drawn anew for each round, and holds each against the exact one."""
    order = random.Random(0)
    found = []
    for shape, tensors in feeds.items():
        expected = fetched(exact(tensors))
        errors = {name: _error(expected, fetched(call(tensors))) for name, call in calls.items()}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(rounds + WARM_UP):
            for name in order.sample(list(calls), len(calls)):
                taken = seconds(functools.partial(_finished, calls[name], tensors, machine))
                if turn >= WARM_UP:
                    times[name].append(1000 * taken)
        found += [Timed(name, shape, times[name], errors[name]) for name in calls]
    return found


def _finished(call: Call, feeds: Feeds, machine: Machine) -> None:
    call(feeds)
    machine.wait()


def fetched(answered: Mapping[str, Any]) -> dict[str, Array]:
    """Copies answers from the device, as float32."""
    return {name: _array(one) for name, one in answered.items()}


def _array(one: Any) -> Array:
    if isinstance(one, Placed) and one.device == "cpu":
        return np.array(one, dtype=np.float32)
    tensor = torch.as_tensor(one, device="cuda") if isinstance(one, Placed) else one
    array: Array = tensor.detach().float().cpu().numpy()
    return array


def _error(expected: Mapping[str, Array], found: Mapping[str, Array]) -> float:
    return max(distance(expected[name], found[name]) for name in expected.keys() & found.keys())


def told(found: Sequence[Timed]) -> list[str]:
    """Returns a line for each way and shape."""
    return [
        f"{one.name:32} {one.shape:>7}: {one.median_ms:8.3f} ms (p95 {one.percentile_ms(0.95):.3f}, "
        f"p99 {one.percentile_ms(0.99):.3f}, n {len(one.milliseconds)})  error {one.error:.1e}"
        for one in found
    ]


def lowered(folder: Path, out: Path) -> Path:
    """Converts a model to float16 with the command, as a user would, and returns the graph."""
    command = [ONNXWRIGHT, "quantize", str(folder), "-o", str(out), "--precision", "fp16", "--no-measure"]
    subprocess.run([*command, "--engine", "onnxruntime"], check=True, stdout=subprocess.DEVNULL)
    package = Package.open(out)
    variants = package.manifest.variants
    return package.proven_file(next(name for name, one in variants.items() if one.precision == "float16"))


def main(words: Sequence[str] | None = None) -> int:
    """Measures, prints, and keeps; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--rounds", type=int, default=200)
    asked = parser.parse_args(words)
    reason = missing(asked.device)
    if reason is not None:
        print(reason, file=sys.stderr)
        return 2
    machine = Machine(asked.device, torch.float16 if asked.device == "cuda" else torch.float32)
    folder = minilm()
    with tempfile.TemporaryDirectory() as out:
        file = lowered(folder, Path(out) / "package")
        plans = rewritten(file, Path(out), "onnxruntime" if asked.device == "cpu" else REWRITTEN_FOR)
        exact, module = Embedder(folder).to(machine.device).eval(), Embedder(folder)
        vocabulary = int(module.encoder.config.vocab_size)
        feeds = {shape: drawn(shape, vocabulary, machine.device) for shape in asked.shapes}
        shaped = shaped_for(asked.shapes, list(next(iter(feeds.values()))))
        calls, reasons = engine_calls(file, plans, machine, shaped)
        calls = {**torch_calls(module, machine), **calls}
        found = compare(calls, feeds, _without_gradients(exact), machine, asked.rounds)
    print("\n".join([*told(found), *(f"{name}: not run: {reason}" for name, reason in reasons.items())]))
    rows = [{"name": one.name, "shape": one.shape, "ms": one.milliseconds, "error": one.error} for one in found]
    if machine.device == "cuda":
        keep("gpu", {"machine": machine.describe(), "model": "all-MiniLM-L6-v2", "rows": rows, "not_run": reasons})
    return 0


if __name__ == "__main__":
    sys.exit(main())
