"""One proof in a process of its own, and what it took; prints a line of JSON.

python benchmarks/bare_proof.py FOLDER GRAPH CANDIDATES      a normal proof
python benchmarks/bare_proof.py FOLDER GRAPH pytorch|candidate BATCH,SEQUENCE …      calls of one of them alone
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnxwright import environment
from onnxwright.backends import Options, engine
from onnxwright.proof.prove import BUDGETS, Plan, prove
from onnxwright.reference import reference_of
from onnxwright.samples import Sampler
from onnxwright.source import Source
from onnxwright.stages.load import load

RESET_PEAK = "5"
MOST_CALLS = 8


class Timed:
    """A session that notes how often it is called and how long that takes."""

    def __init__(self, run: Callable[[Any], Any], ran: Any = None):
        self.ran, self.calls, self.seconds = ran, 0, 0.0
        self._run = run

    def run(self, feeds: Any) -> Any:
        """Answers, and notes the time."""
        started = time.perf_counter()
        try:
            return self._run(feeds)
        finally:
            self.calls += 1
            self.seconds += time.perf_counter() - started


def peak_bytes() -> int:
    """Returns the most memory that this process has held since it began, or since `reset_peak`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def reset_peak() -> None:
    """Forgets the most memory held so far."""
    Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii")


def proof_of(source: Source, graph: Path, candidates: int) -> dict[str, Any]:
    """Proves one graph under as many names, and says what that took."""
    session = engine("onnxruntime").prepare(graph, Options(environment.cores(), is_thrifty=True))
    reset_peak()
    loaded = peak_bytes()
    started = time.perf_counter()
    reference = reference_of(source, threads=environment.cores())
    torch = Timed(reference.session.run, reference.session.ran)
    order = None if reference.order is None else Timed(reference.order.run)
    twin = Timed(reference.twin.run)
    timed = {f"candidate {number}": Timed(session.run, session.ran) for number in range(candidates)}
    drawn = _Drawn(source.sampler)
    plan = Plan(source.profile, source.traced, BUDGETS["normal"])
    proofs = prove(replace(reference, session=torch, twin=twin, order=order), timed, drawn.sampler, plan)
    taken = time.perf_counter() - started
    shown = next(iter(proofs.values()))
    noise = twin.seconds + (0.0 if order is None else order.seconds)
    run = sum(one.seconds for one in timed.values())
    spent = {"pytorch": torch.seconds, "noise": noise, "candidate": run, "samples": drawn.seconds}
    return {
        "seconds": taken,
        "points": shown.points,
        "sizes": len(shown.sizes),
        "untried": len(shown.untried),
        "verdict": shown.verdict,
        "range": shown.range,
        "calls": {"pytorch": torch.calls, "noise": twin.calls, "candidate": next(iter(timed.values())).calls},
        "spent": {**spent, "comparison": taken - sum(spent.values())},
        "proof_bytes": peak_bytes() - loaded,
        "largest": sorted(shown.sizes, key=lambda sizes: sizes["batch"] * sizes["sequence"])[-MOST_CALLS:],
    }


class _Drawn:
    """A sampler that notes how long it takes to draw."""

    def __init__(self, sampler: Sampler):
        self.seconds = 0.0

        class Noting(Sampler):
            def draw(_, *given: Any, **named: Any) -> Any:  # noqa: N805
                started = time.perf_counter()
                drawn = sampler.draw(*given, **named)
                self.seconds += time.perf_counter() - started
                return drawn

        self.sampler = Noting(sampler.signature, sampler.meanings, sampler.given, sampler.text)


def calls_at(source: Source, graph: Path, which: str, many: list[list[int]]) -> dict[str, Any]:
    """Calls reference or candidate alone, both being loaded, and says how much memory that took."""
    candidate = engine("onnxruntime").prepare(graph, Options(environment.cores(), is_thrifty=True))
    reference = reference_of(source, threads=environment.cores())
    called = reference.session if which == "pytorch" else candidate
    reset_peak()
    before = peak_bytes()
    for sizes in many:
        called.run(source.sampler.draw(dict(zip(("batch", "sequence"), sizes, strict=True))))
    return {"call_bytes": peak_bytes() - before}


def main(folder: str, graph: str, what: str, *sizes: str) -> None:
    """Proves or calls."""
    source = load(folder)
    if sizes:
        many = [[int(size) for size in one.split(",")] for one in sizes]
        print(json.dumps(calls_at(source, Path(graph), what, many)))
    else:
        print(json.dumps(proof_of(source, Path(graph), int(what))))


if __name__ == "__main__":
    main(*sys.argv[1:])
