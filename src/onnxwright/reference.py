"""What a candidate is held against: PyTorch (or the given graph) as it answers, and how noisy its answers are."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Session, Tensors
from onnxwright.dtypes import is_float
from onnxwright.errors import ForwardError
from onnxwright.findings import Finding
from onnxwright.given import GivenSession
from onnxwright.samples import REGIMES, TYPICAL
from onnxwright.source import Source

if TYPE_CHECKING:
    from onnxwright.behaviour import Behaviour

_MANY_CALLS = 6
_STATE_SECONDS = 3.0
_DOUBLE = "PyTorch in float64 against float32"
_THREADS = "the reference on one thread against several, since float64 could not run"
_GRAPH = "the graph on one thread against several, since it has no float64 twin"


class Twin(Protocol):
    """The reference once more, more precisely or in another order of evaluation."""

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers like a session."""


@dataclass(frozen=True)
class Reference:
    """A session that is right by definition, and a twin that shows its noise."""

    session: Session
    twin: Twin
    origin: str

    @property
    def label(self) -> str:
        """What the reference is, in words."""
        return f"{self.session.ran.backend} {self.session.ran.version} {self.session.ran.precision}"

    def noise(self, feeds: Tensors, answered: Tensors) -> dict[str, float]:
        """Returns for each output how far the reference lies from its twin on these feeds."""
        precise = self.twin.run(feeds)
        return {name: _noise(answered[name], precise[name]) for name in answered}


def reference_of(source: Source, *, threads: int, device: str = "cpu") -> Reference:
    """Prepares the reference of a source, and its twin."""
    if source.module is None:
        return _graph_reference(source, threads)
    from onnxwright.pytorch import PyTorchSession

    session = PyTorchSession(source.module, source.signature, threads=threads, device=device, is_whole=source.is_whole)
    double = _double(source, threads)
    if double is not None:
        return Reference(session, double, _DOUBLE)
    return Reference(session, PyTorchSession(source.module, source.signature, threads=1, device=device), _THREADS)


def examine(source: Source, *, threads: int) -> tuple[Finding, ...]:
    """Looks whether the module is a function of its inputs: the same answer each time, whatever came before."""
    from onnxwright.behaviour import Behaviour
    from onnxwright.calls import departure
    from onnxwright.lines import found_at
    from onnxwright.pytorch import PyTorchSession

    if source.module is None:
        return ()
    session = PyTorchSession(source.module, source.signature, threads=threads)
    behaviour = Behaviour(source.module, source.signature)
    feeds = source.sampler.draw(source.traced)
    dice = Dice()
    differing = _differing(session.run(feeds), session.run(feeds))
    if differing:
        message = f"Two runs of PyTorch on the same inputs differ in {_named(differing)}."
        place = departure(behaviour.log(feeds), behaviour.log(feeds), tolerance.RUN_TO_RUN)
        return (found_at(place, "nondeterministic-forward", message),)
    state = (*_state_findings(source, session, behaviour, feeds), *behaviour.findings(feeds))
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


def _state_findings(source: Source, session: _Stateful, behaviour: Behaviour, feeds: Tensors) -> tuple[Finding, ...]:
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
    deadline = time.monotonic() + _STATE_SECONDS
    for earlier, asked in (*after_usual, *after_many, *after_large):
        if time.monotonic() > deadline:
            break
        found = _compare_after(session, behaviour, earlier, asked)
        if found is not None:
            return (found,)
    return _kept_findings(session, feeds)


def _compare_after(
    session: _Stateful, behaviour: Behaviour, earlier: Sequence[Tensors], asked: Tensors
) -> Finding | None:
    from onnxwright.calls import departure
    from onnxwright.lines import found_at

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


class DoubleTwin:
    """A float64 copy of a module, fed with the same numbers."""

    def __init__(self, session: Twin):
        self._session = session

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers in float64."""
        import torch

        wide = {name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in feeds.items()}
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            return self._session.run(wide)
        finally:
            torch.set_default_dtype(before)


def _double(source: Source, threads: int) -> Twin | None:
    import torch

    from onnxwright.pytorch import PyTorchSession

    assert source.module is not None
    try:
        with torch.no_grad():  # else the weights of a copied TorchScript module are no leaves
            module = copy.deepcopy(source.module).double()
        twin = DoubleTwin(PyTorchSession(module, source.signature, threads=threads))
        twin.run(source.sampler.draw(source.traced, TYPICAL))
    except Exception:  # noqa: BLE001 - modules that can't be copied, or that name float32 in their code
        return None
    return twin


def _graph_reference(source: Source, threads: int) -> Reference:
    assert source.graph is not None
    session, twin = GivenSession(source.graph, threads=threads), GivenSession(source.graph, threads=1)
    return Reference(session, twin, _GRAPH)
