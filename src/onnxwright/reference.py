"""What a candidate is held against: PyTorch (or the given graph) as it answers, and how noisy its answers are."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Session, Tensors
from onnxwright.dtypes import is_float
from onnxwright.errors import ForwardError
from onnxwright.findings import Finding
from onnxwright.given import GivenSession
from onnxwright.samples import REGIMES, TYPICAL
from onnxwright.source import Source

_MANY_CALLS = 6
_STATE_SECONDS = 3.0
_LONGEST_REASON = 120


class Twin(Protocol):
    """The reference once more, more precisely or in another order of evaluation."""

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers like a session."""


@dataclass(frozen=True)
class Reference:
    """A session that is right by definition, and twins that show its noise; `origin` says in words what they are."""

    session: Session
    twin: Twin
    origin: str
    order: Twin | None = None

    @property
    def label(self) -> str:
        """What the reference is, in words."""
        return f"{self.session.ran.backend} {self.session.ran.version} {self.session.ran.precision}"

    def noise(self, feeds: Tensors, answered: Tensors) -> dict[str, float]:
        """Returns for each output how far the reference lies from the farthest of its twins on these feeds.

        Where a twin can't answer, the others count; where none can, there is no noise that could excuse anything.
        """
        noise = dict.fromkeys(answered, 0.0)
        for twin in (self.twin, self.order):
            with contextlib.suppress(ForwardError):
                other = twin.run(feeds) if twin is not None else {}
                noise.update({name: max(noise[name], _noise(answered[name], other[name])) for name in other})
        return noise


@dataclass(frozen=True)
class _Answering:
    """A twin made of a function."""

    run: Callable[[Tensors], dict[str, Array]]


def sizes_asked_for(source: Source, *, seconds: float) -> tuple[dict[str, int], ...]:
    """Returns sizes at which the module's own code, as far as it can be followed, takes another way."""
    if source.module is None or not source.profile:
        return ()
    from onnxwright.conditions import telling_sizes

    return tuple(telling_sizes(source.module, source.sampler, source.profile, source.traced, seconds))


def reference_of(source: Source, *, threads: int, device: str = "cpu") -> Reference:
    """Prepares the reference of a source, and its twins.

    The noise of an output is the greater of two: PyTorch in float64 against float32, and float32 in another order of
    evaluation, with another number of threads and without fused kernels.
    """
    if source.module is None:
        return _graph_reference(source, threads)
    from onnxwright.pytorch import PyTorchSession
    from onnxwright.widened import Widening

    session, mode = PyTorchSession(source.module, source.signature, threads=threads, device=device), Widening()
    order = _Answering(session.run_reordered)
    ordered = "float32 on another number of threads and without fused kernels"
    try:
        session.run_widened(source.sampler.draw(source.traced, TYPICAL), mode)
    except ForwardError as problem:
        told = " ".join(str(problem).split())[:_LONGEST_REASON]
        return Reference(session, order, f"{ordered}, since float64 could not run ({told})")
    narrow = f" (but for {', '.join(sorted(mode.narrow))})" if mode.narrow else ""
    origin = f"PyTorch in float64{narrow} against float32, or {ordered}, whichever lies farther"
    return Reference(session, _Answering(lambda feeds: session.run_widened(feeds, Widening())), origin, order)


def examine(source: Source, *, threads: int, seconds: float = _STATE_SECONDS) -> tuple[Finding, ...]:
    """Looks whether the module is a function of its inputs: the same answer each time, whatever came before.

    Calls after other calls are compared for as many seconds; a finding says which were left out.
    """
    from onnxwright.pytorch import PyTorchSession

    if source.module is None:
        return ()
    session = PyTorchSession(source.module, source.signature, threads=threads)
    feeds = source.sampler.draw(source.traced)
    dice = _Dice()
    differing = _differing(session.run(feeds), session.run(feeds))
    if differing:
        message = f"Two runs of PyTorch on the same inputs differ in {_named(differing)}."
        return (Finding("nondeterministic-forward", message),)
    state = _state_findings(source, session, feeds, seconds)
    thrown = dice.thrown()
    if thrown == ["torch"] and not session.depends_on_chance(feeds):
        return state
    if thrown:
        return (*state, Finding("random-numbers", f"A call draws random numbers from {', '.join(thrown)}."))
    return state


class _Dice:
    """The states of the random generators that Python code draws from."""

    def __init__(self) -> None:
        self._before = self._states()

    def thrown(self) -> list[str]:
        """Names the generators that were drawn from since."""
        return [name for name, state in self._states().items() if state != self._before[name]]

    @staticmethod
    def _states() -> dict[str, object]:
        import torch

        numpy_state = np.random.get_state(legacy=False)  # the generator that users' code shares
        return {
            "torch": torch.get_rng_state().numpy().tobytes(),
            "random": random.getstate(),
            "numpy": repr(numpy_state),
        }


def _state_findings(source: Source, session: _Stateful, feeds: Tensors, seconds: float) -> tuple[Finding, ...]:
    """Compares calls from the first state with calls after others: after usual, large and many equal ones."""
    draw = source.sampler.draw
    small = [
        {**source.traced, dim: size} for dim, sizes in source.profile.items() for size in _other(source, dim, sizes)
    ]
    large = [{**source.traced, dim: sizes.most} for dim, sizes in source.profile.items()]
    later = [draw(sizes, seed=1) for sizes in ({**source.traced}, *small)] + [draw(source.traced, REGIMES[1], seed=2)]
    after_usual: list[tuple[list[Tensors], Tensors]] = [([feeds], asked) for asked in later]
    after_large: list[tuple[list[Tensors], Tensors]] = [([draw(sizes)], feeds) for sizes in large]
    after_many: list[tuple[list[Tensors], Tensors]] = [([feeds] * _MANY_CALLS, feeds)]
    waiting = [*after_usual, *after_many, *after_large]
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() <= deadline:
        found = _compare_after(session, *waiting.pop(0))
        if found is not None:
            return (found,)
    return (*_kept_findings(session, feeds), *_skipped(source, waiting))


def _skipped(source: Source, waiting: Sequence[tuple[Sequence[Tensors], Tensors]]) -> tuple[Finding, ...]:
    if not waiting:
        return ()
    bind = source.signature.bind
    pairs = [f"{_sized(bind(asked))} after {_sized(bind(earlier[-1]))}" for earlier, asked in waiting]
    told = f"Whether an answer depends on calls before it was not tried, for lack of time, at {'; '.join(pairs[:3])}"
    more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
    return (Finding("not-tried", f"{told}{more}."),)


def _sized(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{dim} {size}" for dim, size in sizes.items()) or "its only size"


def _compare_after(session: _Stateful, earlier: Sequence[Tensors], asked: Tensors) -> Finding | None:
    try:
        fresh = session.run(asked)
        session.restore()
        for feeds in earlier:
            session.run_again(feeds)
    except ForwardError:
        session.restore()
        return None
    changed = session.changes()
    try:
        differing = _differing(fresh, session.run_again(asked))
        what = f"The answer in {_named(differing)} depends on the calls before it."
    except ForwardError as problem:
        differing, what = ["all"], f"A call that works alone fails after another one ({problem})."
    session.restore()
    kept = f" It keeps {', '.join(map(repr, changed[:5]))}." if changed else ""
    return Finding("state-between-calls", f"{what}{kept}") if differing else None


def _kept_findings(session: _Stateful, feeds: Tensors) -> tuple[Finding, ...]:
    session.run(feeds)
    kept = session.changes()
    session.restore()
    return (Finding("state-kept", f"A call changes {', '.join(map(repr, kept[:5]))}."),) if kept else ()


class _Stateful(Protocol):
    def run(self, feeds: Tensors) -> dict[str, Array]: ...
    def run_again(self, feeds: Tensors) -> dict[str, Array]: ...
    def changes(self) -> list[str]: ...
    def restore(self) -> None: ...


def _other(source: Source, dim: str, sizes: tuple[int, int, int]) -> list[int]:
    traced = source.traced[dim]
    return [size for size in sorted({sizes[0], traced - 1, traced + 1}) if sizes[0] <= size <= sizes[2]]


def _differing(one: Tensors, other: Tensors) -> list[str]:
    return [name for name in one if tolerance.distance(one[name], other[name]) > tolerance.RUN_TO_RUN]


def _named(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _noise(answered: Array, precise: Array) -> float:
    if answered.shape != precise.shape:
        return float("inf")
    if not is_float(answered.dtype.name):
        return 0.0 if np.array_equal(answered, precise) else float("inf")
    return tolerance.distance(precise, answered.astype(precise.dtype))


def _graph_reference(source: Source, threads: int) -> Reference:
    assert source.graph is not None
    other = 1 if threads > 1 else 2
    session, twin = GivenSession(source.graph, threads=threads), GivenSession(source.graph, threads=other)
    return Reference(session, twin, f"the graph on {threads} against {other} threads, since it has no float64 twin")
