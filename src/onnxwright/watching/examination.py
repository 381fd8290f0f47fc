"""Looks whether a module is a function of its inputs, before anything is held against it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Tensors
from onnxwright.errors import ForwardError
from onnxwright.findings import Finding
from onnxwright.samples import REGIMES
from onnxwright.source import Source
from onnxwright.words import in_sizes

if TYPE_CHECKING:
    from onnxwright.pytorch.session import PyTorchSession
    from onnxwright.watching.behaviour import Behaviour

_MANY_CALLS = 6
_STATE_SECONDS = 3.0


def examine(source: Source, *, threads: int, seconds: float = _STATE_SECONDS) -> tuple[Finding, ...]:
    """Looks whether the module is a function of its inputs: the same answer each time, whatever came before.

    Calls after other calls are compared for as many seconds; a finding says which were left out.
    """
    if source.module is None:
        return ()
    from onnxwright.pytorch.calls import departure
    from onnxwright.pytorch.lines import found_at
    from onnxwright.pytorch.session import PyTorchSession
    from onnxwright.watching.behaviour import Behaviour, fused_finding

    session = PyTorchSession(source.module, source.signature, threads=threads)
    behaviour = Behaviour(source.module, source.signature)
    feeds = source.sampler.draw(source.traced)
    dice = Dice()
    differing = _differing(session.run(feeds), session.run(feeds))
    if differing:
        message = f"Two runs of PyTorch on the same inputs differ in {_named(differing)}."
        place = departure(behaviour.log(feeds), behaviour.log(feeds), tolerance.RUN_TO_RUN)
        return (found_at(place, "nondeterministic-forward", message),)
    state = (*_state_findings(source, session, behaviour, feeds, seconds), *behaviour.findings(feeds))
    state += fused_finding(source, threads)
    thrown = dice.thrown()
    if thrown == ["torch"] and not session.depends_on_chance(feeds):
        return state
    if thrown:
        message = f"A call draws random numbers from {', '.join(thrown)}."
        return (*state, found_at(behaviour.first_draw(feeds), "random-numbers", message))
    return state


class Dice:
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


def _state_findings(
    source: Source, session: PyTorchSession, behaviour: Behaviour, feeds: Tensors, seconds: float
) -> tuple[Finding, ...]:
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
        found = _compare_after(session, behaviour, *waiting.pop(0))
        if found is not None:
            return (found,)
    return (*_kept_findings(session, feeds), *_skipped(source, waiting))


def _skipped(source: Source, waiting: Sequence[tuple[Sequence[Tensors], Tensors]]) -> tuple[Finding, ...]:
    if not waiting:
        return ()
    bind = source.signature.bind
    pairs = [f"{in_sizes(bind(asked))} after {in_sizes(bind(earlier[-1]))}" for earlier, asked in waiting]
    told = f"Whether an answer depends on calls before it was not tried, for lack of time, at {'; '.join(pairs[:3])}"
    more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
    return (Finding("not-tried", f"{told}{more}."),)


def _compare_after(
    session: PyTorchSession, behaviour: Behaviour, earlier: Sequence[Tensors], asked: Tensors
) -> Finding | None:
    from onnxwright.pytorch.calls import departure
    from onnxwright.pytorch.lines import found_at

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
    if not differing:
        return None
    kept = f" It keeps {', '.join(map(repr, changed[:5]))}." if changed else ""
    place = departure(behaviour.log(asked), behaviour.log(*earlier, asked), tolerance.RUN_TO_RUN)
    return found_at(place, "state-between-calls", f"{what}{kept}")


def _kept_findings(session: PyTorchSession, feeds: Tensors) -> tuple[Finding, ...]:
    session.run(feeds)
    kept = session.changes()
    session.restore()
    return (Finding("state-kept", f"A call changes {', '.join(map(repr, kept[:5]))}."),) if kept else ()


def _other(source: Source, dim: str, sizes: tuple[int, int, int]) -> list[int]:
    traced = source.traced[dim]
    return [size for size in sorted({sizes[0], traced - 1, traced + 1}) if sizes[0] <= size <= sizes[2]]


def _differing(one: Tensors, other: Tensors) -> list[str]:
    return [name for name in one if tolerance.distance(one[name], other[name]) > tolerance.RUN_TO_RUN]


def _named(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
