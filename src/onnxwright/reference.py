"""What a candidate is held against: PyTorch (or the given graph) as it answers, and how noisy its answers are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Session, Tensors
from onnxwright.dtypes import is_float
from onnxwright.errors import ForwardError
from onnxwright.given import GivenSession
from onnxwright.samples import TYPICAL
from onnxwright.source import Source

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
    has_ties: Callable[[Tensors], bool] = lambda _: False
    """Whether it picks among equal elements, as of a `topk`, on some feeds."""

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


def reference_of(source: Source, *, threads: int, device: str = "cpu") -> Reference:
    """Prepares the reference of a source, and its twins.

    The noise of an output is the greater of two: PyTorch in float64 against float32, and float32 in another order of
    evaluation, with another number of threads and without fused kernels.
    """
    if source.module is None:
        return _graph_reference(source, threads)
    from onnxwright.pytorch.session import PyTorchSession
    from onnxwright.pytorch.widened import Widening

    mode = Widening()
    session = PyTorchSession(source.module, source.signature, threads=threads, device=device, is_whole=source.is_whole)
    order = _Answering(session.run_reordered)
    ordered = "float32 on another number of threads and without fused kernels"
    try:
        session.run_widened(source.sampler.draw(source.traced, TYPICAL), mode)
    except ForwardError as problem:
        told = " ".join(str(problem).split())[:_LONGEST_REASON]
        return Reference(session, order, f"{ordered}, since float64 could not run ({told})", has_ties=session.has_ties)
    narrow = f" (but for {', '.join(sorted(mode.narrow))})" if mode.narrow else ""
    origin = f"PyTorch in float64{narrow} against float32, or {ordered}, whichever lies farther"
    twin = _Answering(lambda feeds: session.run_widened(feeds, Widening()))
    return Reference(session, twin, origin, order, session.has_ties)


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
