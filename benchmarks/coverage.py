"""Which architectures convert: a tiny random model of every config class that transformers maps to a model.

Nothing is picked by hand and no architecture is named: `tiny` makes models and inputs. A model that PyTorch itself
can't build or run from that is left out, and told; `--build-only` tells no more than this, and is quick. Each
conversion runs in a process of its own, for `--seconds` at the most; a row says its route and repairs, what was proven
of the profile, and how long it took. `--sample N` takes so many, drawn by `--seed`. `--compare` exports each by
PyTorch's own exporters too, and compares what they wrote with PyTorch at the ends of the profile, on one input each:
less than a proof.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import functools
import itertools
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from onnxwright.stages.measure import LEAST_RUNS
from record import keep, spread
from tiny import made

RAW = ("trace", "dynamo")


def names() -> list[str]:
    """Returns the model types that transformers maps to a base model."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return sorted(MODEL_MAPPING_NAMES)


def one(name: str, *, repair_seconds: float) -> dict[str, Any]:
    """Converts one architecture and returns its row."""
    import onnxwright as ow

    try:
        model, inputs, dims, profile = made(name)
    except ValueError as refusal:
        return {"name": name, "outcome": "not runnable", "reason": str(refusal)[:200]}
    begun = time.perf_counter()
    options: dict[str, Any] = {"measure": False, "proof": "quick", "engine": "onnxruntime"}
    with tempfile.TemporaryDirectory() as folder:
        try:
            package = ow.convert(
                model,
                Path(folder) / "out",
                example_inputs=inputs,
                dims=dims,
                profile=profile,
                repair_seconds=repair_seconds,
                **options,
            )
        except ow.OnnxwrightError as refusal:
            return {"name": name, "outcome": "refused", "seconds": time.perf_counter() - begun, "reason": str(refusal)}
        last = max(package.manifest.attempts, key=lambda attempt: attempt.verdict == "proven")
        return {
            "name": name,
            "outcome": package.proof.verdict,
            "approach": last.approach,
            "attempts": [[attempt.approach, attempt.verdict] for attempt in package.manifest.attempts],
            "range": package.proof.range,
            "seconds": time.perf_counter() - begun,
        }


def raw(name: str, *, dynamo: bool) -> dict[str, Any]:
    """Exports one architecture by PyTorch alone, and says whether the file is right at the ends of the profile."""
    import numpy as np
    import onnxruntime
    import torch

    model, inputs, dims, profile = made(name)
    model.eval()
    flat = flattened(model, list(inputs))
    axes = [dict.fromkeys(dims.get(key, {}), torch.export.Dim.DYNAMIC) for key in inputs]
    how: dict[str, Any] = {"dynamic_shapes": (tuple(axes),)} if dynamo else {"dynamic_axes": dims}
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            flat, tuple(inputs.values()), str(file), dynamo=dynamo, input_names=list(inputs), opset_version=18, **how
        )
        seconds = time.perf_counter() - begun
        session = onnxruntime.InferenceSession(file)
    taken = {one.name for one in session.get_inputs()}
    for corner in itertools.product(*({least, usual, most} for least, usual, most in profile.values())):
        feeds = resized(inputs, dims, dict(zip(profile, corner, strict=True)))
        with torch.no_grad():
            expected = flat(*feeds.values())
        answered = session.run(None, {key: value.numpy() for key, value in feeds.items() if key in taken})
        for one, other in zip(expected, answered, strict=False):
            if one.shape != other.shape or not np.allclose(one.numpy(), other, rtol=1e-3, atol=1e-3, equal_nan=True):
                return {"right": False, "seconds": seconds}
    return {"right": True, "seconds": seconds}


def flattened(model: Any, names: list[str]) -> Any:
    """Returns a module of positional inputs that answers the tensors of a model's answer."""
    import torch

    def leaves(value: Any) -> Iterator[Any]:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple, dict)):
            for part in value.values() if isinstance(value, dict) else value:
                yield from leaves(part)

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(leaves(self.model(**dict(zip(names, tensors, strict=True)))))

    return Flat().eval()


def resized(inputs: dict[str, Any], dims: dict[str, dict[int, str]], sizes: dict[str, int]) -> dict[str, Any]:
    """Returns inputs repeated or cut to sizes."""
    import torch

    found = {}
    for key, tensor in inputs.items():
        for axis, dim in dims.get(key, {}).items():
            tensor = tensor.index_select(axis, torch.arange(sizes[dim]) % tensor.shape[axis])  # noqa: PLW2901
        found[key] = tensor
    return found


def reason_of(name: str) -> dict[str, Any]:
    """Tells whether a type can be built and run, and why not."""
    try:
        made(name)
    except ValueError as refusal:
        return {"name": name, "outcome": "not runnable", "reason": str(refusal)[:200]}
    return {"name": name, "outcome": "runnable"}


STEPS: dict[str, Callable[[str], dict[str, Any]]] = {
    "build": reason_of,
    "onnxwright": functools.partial(one, repair_seconds=150.0),
    "trace": functools.partial(raw, dynamo=False),
    "dynamo": functools.partial(raw, dynamo=True),
}


def load() -> None:
    """Imports what every step needs, so that each process that is forked from here has it."""
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import torch
    import transformers.modeling_utils

    import onnxwright as ow
    from onnxwright.routes import routes

    ow.convert  # noqa: B018 - loads what it names
    for route in routes().values():
        route.load()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()


def row(name: str, how: str, seconds: float) -> dict[str, Any]:
    """Runs a step with one type in a forked process, which is ended with all that it has started when it is late."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(name, how, there))
    child.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv() if here.poll(seconds) else {"name": name, "outcome": "out of time"}
    except EOFError:
        found = {"name": name, "outcome": "crashed", "reason": "the process ended"}
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid or 0, signal.SIGKILL)
    child.join()
    here.close()
    return found


def keep_to(core: int) -> None:
    """Has this thread, and what it forks, run on one core: threads of several conversions would wait for each other."""
    os.sched_setaffinity(threading.get_native_id(), {core})


def work(name: str, how: str, there: Connection) -> None:
    """Sends what a step finds, from a process group of its own that prints nothing."""
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        found = STEPS[how](name)
    except BaseException as problem:  # noqa: BLE001 - an exporter raises anything
        found = {"name": name, "outcome": "crashed", "reason": f"{type(problem).__name__}: {problem}"[:500]}
    there.send(found)


def rows_of(name: str, *, how: str, beside: Sequence[str], seconds: float) -> dict[str, Any]:
    """Returns the row of one type, with what PyTorch's exporters do beside."""
    found = row(name, how, seconds)
    if beside and found["outcome"] != "not runnable":
        found["raw"] = {other: row(name, other, seconds) for other in beside}
    what = found.get("approach") or " ".join(str(found.get("reason", "")).split())[:160]
    others = " ".join(f"{other} {one.get('right', False)!s:5}" for other, one in found.get("raw", {}).items())
    print(f"{name:28} {found['outcome']:12} {found.get('seconds', 0.0):5.0f} s  {others}  {what}", flush=True)
    return found


def told(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Prints what came of all types, and beside what PyTorch's exporters did, and returns it."""
    counts = Counter(one["outcome"] for one in rows)
    runnable = len(rows) - counts["not runnable"]
    print(f"\n{counts['proven']} of {runnable} that PyTorch runs are proven on the whole profile; {dict(counts)}")
    compared = [one for one in rows if "raw" in one]
    right = {how: sum(one["raw"][how].get("right", False) for one in compared) for how in RAW if compared}
    if compared:
        right["either"] = sum(any(one["raw"][how].get("right") for how in RAW) for one in compared)
    for how, count in right.items():
        print(f"{how} alone: {count} of {len(compared)} right at the ends")
    beside = [
        one["seconds"] / min(exported)
        for one in compared
        if "seconds" in one and (exported := [found["seconds"] for found in one["raw"].values() if "seconds" in found])
    ]
    found = {"counts": counts, "runnable": runnable, "right": right}
    if len(beside) >= LEAST_RUNS:
        found["seconds_beside_the_faster_raw_route"] = spread(beside)._asdict()
        print(f"seconds, as a multiple of the faster raw export's: {spread(beside)}")
    return found


def main() -> None:
    """Prints a row for each architecture and a summary, and keeps both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="model types; all that transformers maps, unless some are given")
    parser.add_argument("--compare", action="store_true", help="export by PyTorch's exporters alone beside")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--build-only", action="store_true", help="tell which can be built and run; convert none")
    parser.add_argument("--sample", type=int, help="so many types, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300.0, help="for each type")
    parser.add_argument("--repair-seconds", type=float, default=150.0, help="how long new attempts are begun")
    parser.add_argument("--out", default="coverage", help="what the file in results/ is called")
    given = parser.parse_args()
    load()
    STEPS["onnxwright"] = functools.partial(one, repair_seconds=given.repair_seconds)
    known = given.names or names()
    chosen = sorted(random.Random(given.seed).sample(known, given.sample)) if given.sample else known
    work = functools.partial(
        rows_of,
        how="build" if given.build_only else "onnxwright",
        beside=RAW if given.compare else (),
        seconds=given.seconds,
    )
    cores = itertools.cycle(sorted(os.sched_getaffinity(0)))
    start = lambda: keep_to(next(cores))  # noqa: E731
    with concurrent.futures.ThreadPoolExecutor(given.workers, initializer=start) as pool:
        rows = list(pool.map(work, chosen))
    found = told(rows)
    if not given.build_only:
        keep(given.out, {"sample": given.sample, "seed": given.seed, "of": len(names()), **found, "rows": rows})


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
