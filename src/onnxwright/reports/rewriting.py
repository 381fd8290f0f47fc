"""What was tried to make a graph faster on an engine, in rows: plans with their gains, rules, and what declined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxwright.manifest import Optimization, Rewritten
from onnxwright.rewrites import NearMiss, Trace
from onnxwright.stages.measure import gains_in_words


def optimization_rows(engine: str, record: Optimization, kind: str = "optimized") -> Iterator[Sequence[str]]:
    """Yields what was tried for one engine: a kind of row first, the engine second."""
    yield kind, engine, record.told
    for plan in record.plans:
        yield "plan", engine, plan.plan, f"{plan.nodes} nodes", plan.outcome, _came_of(plan)
    controls = [plan.control for plan in record.plans if plan.control]
    for place, control in enumerate(controls):
        if control not in controls[:place]:
            yield "control", engine, "as it was", f"against itself: {gains_in_words(control)}"
    for came, what, told in _trace_rows(record.trace):
        yield came, engine, what, told


def _came_of(plan: Rewritten) -> str:
    rolled_back = f"rolled back: {', '.join(plan.rolled_back)}" if plan.rolled_back else ""
    return "; ".join(filter(None, [rolled_back, plan.message, gains_in_words(plan.latencies)]))


def _trace_rows(trace: Trace) -> Iterator[tuple[str, str, str]]:
    for rule, count in trace.counts.items():
        yield "rewrote", rule, _times(count)
    declined: dict[tuple[str, str], list[NearMiss]] = {}
    for miss in trace.near_misses:
        declined.setdefault((miss.rule, miss.reason), []).append(miss)
    for (rule, reason), misses in declined.items():
        first = misses[0]
        place = " ".join(filter(None, [f"node '{first.node}'", first.where]))
        yield "declined", rule, f"{_times(len(misses))}: {reason} (for example at {place})"
    for setback in trace.setbacks:
        yield "setback", setback.step, setback.message


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
