"""Which architectures convert: a tiny random model of every config class that transformers maps to a model.

Nothing is picked by hand and no architecture is named: `tiny` makes models and inputs. A model that PyTorch itself
can't build or run from that is left out, and told; `--build-only` tells no more than this, and is quick. Each
conversion runs in a process of its own, for `--seconds` at the most; a row says its route and repairs, what was proven
of the profile, and how long it took. `--sample N` takes so many, drawn by `--seed`. `--compare` exports each by
PyTorch's own exporters too, and compares what they wrote with PyTorch at the ends of the profile, on one input each:
less than a proof. Processes are forked from one that has loaded all libraries; with `--fresh`, each starts anew and
loads what it needs, as a command does. Seconds from a process's start are told beside those of the conversion alone.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import multiprocessing
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from onnxwright.stages.measure import LEAST_RUNS
from record import keep, spread
from tiny import made

Step = Callable[[str], dict[str, Any]]
"""What is done with a model type, and what was found."""
RAW = ("trace", "dynamo")
NARROWING = ("range-narrowed", "outputs-differ", "shape-branch-frozen", "reference-refuses-size", "not-tried")


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
    options: dict[str, Any] = {"measure": False, "engine": "onnxruntime"}
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
            seconds = time.perf_counter() - begun
            return {"name": name, "outcome": outcome_of(refusal), "seconds": seconds, "reason": str(refusal)}
        narrowed = [found.message for found in package.manifest.findings if found.code in NARROWING]
        last = max(package.manifest.attempts, key=lambda attempt: attempt.verdict == "proven")
        return {
            "name": name,
            "outcome": package.proof.verdict,
            "approach": last.approach,
            "attempts": [[attempt.approach, attempt.verdict] for attempt in package.manifest.attempts],
            "range": package.proof.range,
            "reason": " ".join(narrowed) if package.proof.verdict != "proven" else "",
            "seconds": time.perf_counter() - begun,
            "ended": time.time(),
        }


def outcome_of(refusal: Exception) -> str:
    """Returns how a type was refused: for what exporters do, or because PyTorch itself has no one answer."""
    codes = {found.code for found in getattr(refusal, "findings", ())}
    if not getattr(refusal, "attempts", ()) and not codes.isdisjoint({"random-numbers", "nondeterministic-forward"}):
        return "random"
    return "ill-conditioned" if "ill-conditioned" in codes else "refused"


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
        ended = {"seconds": time.perf_counter() - begun, "ended": time.time()}
        session = onnxruntime.InferenceSession(file)
    taken = {one.name for one in session.get_inputs()}
    for corner in itertools.product(*({least, usual, most} for least, usual, most in profile.values())):
        feeds = resized(inputs, dims, dict(zip(profile, corner, strict=True)))
        with torch.no_grad():
            expected = flat(*feeds.values())
        answered = session.run(None, {key: value.numpy() for key, value in feeds.items() if key in taken})
        for one, other in zip(expected, answered, strict=False):
            if one.shape != other.shape or not np.allclose(one.numpy(), other, rtol=1e-3, atol=1e-3, equal_nan=True):
                return {"right": False, **ended}
    return {"right": True, **ended}


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


@dataclass(frozen=True)
class Plan:
    """How steps are run: for how long at the most, how many at a time, and whether each in a new process."""

    seconds: float
    workers: int
    is_fresh: bool = False


STEPS: dict[str, Step] = {
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


@dataclass(frozen=True)
class Running:
    """A step with one type, in a forked process that is ended with all that it has started when it is late."""

    name: str
    how: str
    core: int
    begun: float
    end: float
    process: Any
    answer: Connection

    def found(self) -> dict[str, Any]:
        """Returns what the step has found, and ends it."""
        found: dict[str, Any] = {"name": self.name, "outcome": "out of time"}
        try:
            found = self.answer.recv() if self.answer.poll() else found
        except EOFError:
            found = {"name": self.name, "outcome": "crashed", "reason": "the process ended"}
        if "ended" in found:
            found["seconds_from_its_start"] = found.pop("ended") - self.begun
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.answer.close()
        return found


def started(name: str, how: str, core: int, plan: Plan) -> Running:
    """Begins a process for a step, on one core: threads of several conversions would wait for each other."""
    context = multiprocessing.get_context("spawn") if plan.is_fresh else multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    begun = time.time()
    process = context.Process(target=work, args=(name, STEPS[how], core, there))
    process.start()
    there.close()
    return Running(name, how, core, begun, time.monotonic() + plan.seconds, process, here)


def work(name: str, step: Step, core: int, there: Connection) -> None:
    """Sends what a step finds, from a process group of its own that prints nothing."""
    os.setsid()
    os.sched_setaffinity(0, {core})
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        found = step(name)
    except BaseException as problem:  # noqa: BLE001 - an exporter raises anything
        found = {"name": name, "outcome": "crashed", "reason": f"{type(problem).__name__}: {problem}"[:500]}
    there.send({key: without_folders(value) if key == "reason" else value for key, value in found.items()})


def without_folders(text: str) -> str:
    """Returns a text that names files by what lies below the folder of libraries, or by their names alone."""
    return re.sub(r"/[^\s'\"]*?/site-packages/|/tmp/[^\s'\"]*/", "", text)


def done(steps: Iterable[tuple[str, str]], plan: Plan) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields what steps with types find, as they end; without threads, since a fork copies what they hold."""
    waiting, running = deque(steps), list[Running]()
    cores = deque(itertools.islice(itertools.cycle(sorted(os.sched_getaffinity(0))), plan.workers))
    while waiting or running:
        while waiting and cores:
            running.append(started(*waiting.popleft(), cores.popleft(), plan))
        ready = wait([one.answer for one in running], min(one.end for one in running) - time.monotonic())
        for one in [one for one in running if one.answer in ready or time.monotonic() > one.end]:
            running.remove(one)
            cores.append(one.core)
            yield one.name, one.how, one.found()


def rows_of(names_of_them: Sequence[str], hows: Sequence[str], plan: Plan) -> list[dict[str, Any]]:
    """Returns the rows of types: what the first step found, with what PyTorch's exporters do beside."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, how, one in done(itertools.product(names_of_them, hows), plan):
        found[name][how] = one
        if len(found[name]) == len(hows):
            tell(found[name], hows)
    return [
        {**found[name][hows[0]], **({"raw": {how: found[name][how] for how in hows[1:]}} if hows[1:] else {})}
        for name in names_of_them
    ]


def tell(found: Mapping[str, Mapping[str, Any]], hows: Sequence[str]) -> None:
    """Prints what came of one type."""
    first = found[hows[0]]
    what = " ".join(f"{first.get('approach', '')} {first.get('reason', '')}".split())[:240]
    others = " ".join(f"{how} {found[how].get('right', False)!s:5}" for how in hows[1:])
    print(f"{first['name']:28} {first['outcome']:12} {first.get('seconds', 0.0):5.0f} s  {others}  {what}", flush=True)


def told(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Prints what came of all types, and beside what PyTorch's exporters did, and returns it."""
    counts = Counter(one["outcome"] for one in rows)
    runnable = len(rows) - counts["not runnable"]
    defined = runnable - counts["random"] - counts["ill-conditioned"]
    print(f"\n{counts['proven']} of {runnable} that PyTorch runs are proven on the whole profile; {dict(counts)}")
    print(f"of the {defined} to which PyTorch gives one answer, so many: {counts['proven'] / max(defined, 1):.1%}")
    compared = [one for one in rows if "raw" in one and one["outcome"] != "not runnable"]
    right = {how: sum(one["raw"][how].get("right", False) for one in compared) for how in RAW if compared}
    if compared:
        right["either"] = sum(any(one["raw"][how].get("right") for how in RAW) for one in compared)
    for how, count in right.items():
        print(f"{how} alone: {count} of {len(compared)} right at the ends")
    found = {"counts": counts, "runnable": runnable, "right": right}
    for key, what in (("seconds", "the conversion alone"), ("seconds_from_its_start", "the whole process")):
        beside = [
            one[key] / min(exported)
            for one in compared
            if key in one and (exported := [found[key] for found in one["raw"].values() if key in found])
        ]
        if len(beside) >= LEAST_RUNS:
            found[f"{key}_beside_the_faster_raw_route"] = spread(beside)._asdict()
            print(f"{what}: {spread(beside)} times the seconds of the faster raw export")
    return found


def main() -> None:
    """Prints a row for each architecture and a summary, and keeps both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="model types; all that transformers maps, unless some are given")
    parser.add_argument("--compare", action="store_true", help="export by PyTorch's exporters alone beside")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--fresh", action="store_true", help="start each process anew, as a command is")
    parser.add_argument("--build-only", action="store_true", help="tell which can be built and run; convert none")
    parser.add_argument("--sample", type=int, help="so many types, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300.0, help="for each type")
    parser.add_argument("--repair-seconds", type=float, default=150.0, help="how long new attempts are begun")
    parser.add_argument("--out", default="coverage", help="what the file in results/ is called")
    given = parser.parse_args()
    plan = Plan(given.seconds, given.workers, given.fresh)
    STEPS["onnxwright"] = functools.partial(one, repair_seconds=given.repair_seconds)
    if not plan.is_fresh:
        load()
    known = given.names or names()
    chosen = sorted(random.Random(given.seed).sample(known, given.sample)) if given.sample else known
    hows = ("build",) if given.build_only else ("onnxwright", *(RAW if given.compare else ()))
    found = told(rows := rows_of(chosen, hows, plan))
    if not given.build_only:
        how = {"fresh": given.fresh, "sample": given.sample, "seed": given.seed, "of": len(names())}
        keep(given.out, {**how, **found, "rows": rows})


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
