"""How long sessions take, side by side: interleaved, pair by pair, with what really ran beside each number."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from onnxwright.backends import Array, Session, Tensors
from onnxwright.errors import UsageError, accepted
from onnxwright.manifest import Latency, Measurement
from onnxwright.profile import Profile
from onnxwright.samples import TYPICAL
from onnxwright.source import Source
from onnxwright.tolerance import distance
from onnxwright.words import in_sizes

LEAST_RUNS = 6
"""With fewer pairs no interval of order statistics holds the median with 95 % confidence."""
_ONE_SIDED = 40  # one in 40 on each side: 95 %


class Plan(msgspec.Struct, frozen=True):
    """How much is measured: runs of each session on each shape, cut short when the time for them all is used up."""

    runs: int = 100
    seconds: float = 30.0
    warmup_runs: int = 3
    pause_seconds: float = 0.002
    seed: int = 0


class Clock(NamedTuple):
    """How time passes."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


Shape = tuple[Mapping[str, int], Tensors]
"""The size of each dim, and feeds of that size."""


def measure(
    sessions: Mapping[str, Session],
    feeds: Sequence[Shape],
    *,
    baseline: str,
    plan: Plan | None = None,
    clock: Clock | None = None,
) -> dict[str, Measurement]:
    """Times every session on every shape and relates each to the baseline.

    A round times each session once, in an order drawn anew, so that what slows the machine for a while slows all of
    them; an untimed run goes before each timed one. The speed-up is the median over the rounds of the baseline's time
    over the session's. Its interval is made of order statistics and needs no distribution (see `interval`). The error
    is the largest distance of any output on any shape from the baseline's.

    Raises:
        UsageError: when no session is called like the baseline.
    """
    if baseline not in sessions:
        raise UsageError(f"baseline '{baseline}' is not measured; expected {accepted(baseline, sessions)}.")
    plan = plan or Plan()
    bench = _Bench(sessions, baseline, plan, clock or Clock(), random.Random(plan.seed))  # noqa: S311 - an order
    found = [_compare(bench, sizes, tensors, plan.seconds / len(feeds)) for sizes, tensors in feeds]
    return {
        name: Measurement(
            label=f"{session.ran.backend} {session.ran.types}",
            baseline=baseline,
            # A version may be a text of a type of its own, as torch's is.
            ran=msgspec.to_builtins(session.ran, enc_hook=str),
            latencies=tuple(shape[name][0] for shape in found),
            error=max((shape[name][1] for shape in found), default=0.0),
        )
        for name, session in sessions.items()
    }


def shapes(profile: Profile) -> list[dict[str, int]]:
    """Chooses the sizes to measure: one short request, one usual request, a usual batch of them.

    A request is the least batch; short means an eighth of the usual size of every other dim. The batch is the dim of
    that name, or else the first one.
    """
    batch = "batch" if "batch" in profile else next(iter(profile), None)
    alone = {dim: sizes.least if dim == batch else sizes.usual for dim, sizes in profile.items()}
    short = {dim: sizes.least if dim == batch else max(sizes.least, sizes.usual // 8) for dim, sizes in profile.items()}
    chosen = (short, alone, profile.usual)
    return [dict(sizes) for sizes in dict.fromkeys(tuple(sizes.items()) for sizes in chosen)]


def mean_speedup(latencies: Sequence[Latency]) -> float:
    """Returns the geometric mean of the speed-ups over all sizes; 1 where nothing was measured."""
    logs = [math.log(one.speedup) for one in latencies]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def drawn(source: Source, ranges: Mapping[str, tuple[int, int]], *, seed: int) -> list[Shape]:
    """Draws typical inputs at the sizes to measure within ranges of the profile's dims."""
    sizes = shapes(source.profile.within(ranges))
    return [(one, source.sampler.draw(one, TYPICAL, seed=seed)) for one in sizes]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns two of the values between which the median of their distribution lies with 95 % confidence.

    The k-th least and k-th greatest, where k is the greatest number for which fewer than k of n fair coins fall on
    one side with a probability of at most 2.5 %: the interval that belongs to the sign test (W. J. Conover,
    Practical Nonparametric Statistics, 3rd edition, section 3.2). It assumes no distribution.
    """
    assert len(values) >= LEAST_RUNS
    ordered = sorted(values)
    count = len(ordered)
    left_out, ways, tail = 0, 1, 1
    while tail * _ONE_SIDED <= 2**count:
        left_out += 1
        ways = ways * (count - left_out + 1) // left_out
        tail += ways
    return ordered[left_out - 1], ordered[count - left_out]


def in_words(latency: Latency) -> str:
    """Says how a latency compares with the baseline's: "2.1× faster", "1.3× slower", or "no difference"."""
    if not latency.is_different:
        return "no difference"
    if latency.speedup >= 1:
        return f"{latency.speedup:.2f}× faster"
    return f"{1 / latency.speedup:.2f}× slower"


def gains_in_words(latencies: Sequence[Latency]) -> str:
    """Says how latencies compare with the baseline's, at which sizes: "2.1× faster at batch 1; no difference at …"."""
    return "; ".join(f"{in_words(one)} at {in_sizes(one.sizes)}" for one in latencies)


class _Bench(NamedTuple):
    sessions: Mapping[str, Session]
    baseline: str
    plan: Plan
    clock: Clock
    draw: random.Random


def _compare(
    bench: _Bench, sizes: Mapping[str, int], tensors: Tensors, seconds: float
) -> dict[str, tuple[Latency, float]]:
    deadline = bench.clock.now() + seconds
    errors = _warm_up(bench, tensors)
    times: dict[str, list[float]] = {name: [] for name in bench.sessions}
    for run in range(max(bench.plan.runs, LEAST_RUNS)):
        if run >= LEAST_RUNS and bench.clock.now() >= deadline:
            break
        for name in bench.draw.sample(list(times), len(times)):
            times[name].append(_time(bench, name, tensors))
    return {name: (_latency(sizes, own, times[bench.baseline]), errors[name]) for name, own in times.items()}


def _warm_up(bench: _Bench, tensors: Tensors) -> dict[str, float]:
    answers = {name: session.run(tensors) for name, session in bench.sessions.items()}
    for session in bench.sessions.values():
        for _ in range(bench.plan.warmup_runs - 1):
            session.run(tensors)
    return {name: _error(answers[bench.baseline], answer) for name, answer in answers.items()}


def _error(reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> float:
    if reference.keys() != candidate.keys():
        return math.inf
    return max((distance(array, candidate[name]) for name, array in reference.items()), default=0.0)


def _time(bench: _Bench, name: str, tensors: Tensors) -> float:
    session, clock = bench.sessions[name], bench.clock
    # The threads of one runtime spin for a while after its answer, and would slow the next one down.
    clock.sleep(bench.plan.pause_seconds)
    # Brings back what the runtimes before have pushed out of the caches: a server runs one model again and again.
    session.run(tensors)
    started = clock.now()
    session.run(tensors)
    return clock.now() - started


def _latency(sizes: Mapping[str, int], times: Sequence[float], baseline: Sequence[float]) -> Latency:
    ratios = [reference / own for reference, own in zip(baseline, times, strict=True)]
    median, p95, p99 = (float(value) * 1e3 for value in np.percentile(times, [50, 95, 99]))
    return Latency(
        sizes=dict(sizes),
        runs=len(times),
        median_ms=median,
        p95_ms=p95,
        p99_ms=p99,
        speedup=float(np.median(ratios)),
        speedup_interval=interval(ratios),
    )
