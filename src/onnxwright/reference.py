"""What a candidate is held against: PyTorch (or the given graph) as it answers, and how noisy its answers are."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Session, Tensors
from onnxwright.dtypes import is_float
from onnxwright.errors import ForwardError
from onnxwright.given import GivenSession
from onnxwright.samples import TYPICAL
from onnxwright.source import Source

if TYPE_CHECKING:
    import onnx_ir

_LONGEST_REASON = 120
_ROUNDING = 2.0**-24
_FINER = 64.0
_ORDERS = 32
"""In so many orders it goes through equal elements."""
_LESS = 8.0
"""What moves by a shift moves by so much less, at least, when the shift is so many times finer, unless it jumps."""

_FEW_BYTES = 1 << 26
"""So many weights are loaded in no time, and kept."""


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
    has_ties: Callable[..., bool] = lambda _, **__: False
    """Whether it picks among equal elements, as of a `topk`, on feeds; with `is_close`, among almost equal ones."""
    shifted: Callable[[Tensors, float], dict[str, Array]] | None = None
    """Answers in float64 with each number of the inputs farther from zero, or nearer, by a part of it."""

    tipped: Twin | None = None
    """The reference with each number that rounding puts on either of two steps of a grid on the other."""
    turned: Callable[[Tensors, int], dict[str, Array]] | None = None
    """Answers with others taken of equal elements; which, a number says."""

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

    def swing(self, feeds: Tensors, answered: Tensors) -> dict[str, float]:
        """Returns for each output how far it moves when numbers between two steps of a grid are rounded otherwise."""
        other: Tensors = {}
        with contextlib.suppress(ForwardError):
            other = self.tipped.run(feeds) if self.tipped is not None else {}
        return {name: _noise(answered[name], other[name]) if name in other else 0.0 for name in answered}

    def otherwise(self, feeds: Tensors) -> Iterator[Tensors]:
        """Answers again and again with others taken of equal elements, of which it picks one; never where it can't."""
        if self.turned is None or not self.has_ties(feeds):
            return
        for number in range(_ORDERS):
            with contextlib.suppress(ForwardError):
                yield self.turned(feeds, number)

    def movement(self, feeds: Tensors) -> dict[str, float]:
        """Returns for each output how far the reference moves when each number of its inputs moves by one rounding.

        Nothing where that can't be told, or where the answer jumps: a condition that turns out otherwise is no noise.
        """
        if self.shifted is None:
            return {}
        try:
            still, moved, less = (self.shifted(feeds, part) for part in (0.0, _ROUNDING, _ROUNDING / _FINER))
        except ForwardError:
            return {}
        far = {name: _noise(moved[name], still[name]) for name in still}
        near = {name: _noise(less[name], still[name]) for name in still}
        return {name: far[name] for name in still if near[name] <= far[name] / _LESS}


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
    from onnxwright.pytorch.devices import on_device
    from onnxwright.pytorch.session import PyTorchSession
    from onnxwright.pytorch.widened import Widening

    mode = Widening()
    module = on_device(source.module, device)
    session = PyTorchSession(module, source.signature, threads=threads, device=device, is_whole=source.is_whole)
    order = _Answering(session.run_reordered)
    tipped = _Answering(session.run_tipped)
    ordered = "float32 on another number of threads and without fused kernels"
    try:
        session.run_widened(source.sampler.draw(source.traced, TYPICAL), mode)
    except ForwardError as problem:
        told = " ".join(str(problem).split())[:_LONGEST_REASON]
        origin = f"{ordered}, since float64 could not run ({told})"
        return Reference(session, order, origin, has_ties=session.has_ties, tipped=tipped, turned=session.run_turned)
    narrow = f" (but for {', '.join(sorted(mode.narrow))})" if mode.narrow else ""
    origin = f"PyTorch in float64{narrow} against float32, or {ordered}, whichever lies farther"
    twin = _Answering(lambda feeds: session.run_widened(feeds, Widening()))

    def shifted(feeds: Tensors, part: float) -> dict[str, Array]:
        return session.run_widened(feeds, Widening(), shift=part)

    return Reference(session, twin, origin, order, session.has_ties, shifted, tipped, session.run_turned)


def _noise(answered: Array, precise: Array) -> float:
    if answered.shape != precise.shape:
        return float("inf")
    if not is_float(answered.dtype.name):
        return 0.0 if np.array_equal(answered, precise) else float("inf")
    return tolerance.distance(precise, answered.astype(precise.dtype))


def _graph_reference(source: Source, threads: int) -> Reference:
    from onnxwright.graph.reading import read_model

    assert source.graph is not None
    graph, other = source.graph, 1 if threads > 1 else 2
    model = read_model(graph)
    weights = [value.const_value for value in model.graph.initializers.values()]
    size = sum(weight.nbytes for weight in weights if weight is not None)
    session = GivenSession(graph, threads=threads)
    order = _twin(graph, size, other)
    precise = _precise(model, graph.name, size, threads)
    ordered = f"the graph on {threads} against {other} threads"
    if precise is None:
        return Reference(session, order, f"{ordered}, since it has no twin that adds in float64")
    return Reference(session, precise, f"the graph as it is against adding in float64, or {ordered}", order)


def _precise(model: onnx_ir.Model, name: str, size: int, threads: int) -> Twin | None:
    """The graph with what adds up numbers in float64; none where nothing does, or its weights are too many to copy."""
    from onnxwright.graph.element_types import sum_in_float64
    from onnxwright.graph.saving import LARGEST_FILE, save_model

    if size > LARGEST_FILE or not sum_in_float64(model):
        return None
    folder = tempfile.mkdtemp(prefix="onnxwright-")
    twin = None
    with contextlib.suppress(ForwardError):
        save_model(model, Path(folder) / name)
        twin = _twin(Path(folder) / name, size, threads)
    if isinstance(twin, _OnCall):
        weakref.finalize(twin, shutil.rmtree, folder)
    else:
        shutil.rmtree(folder)
    return twin


def _twin(graph: Path, size: int, threads: int) -> Twin:
    """A graph as a twin: one with many weights is loaded for each call, of which there are few, and not kept."""
    session = GivenSession(graph, threads=threads)
    return session if size <= _FEW_BYTES else _OnCall(graph, threads)


@dataclass(frozen=True)
class _OnCall:
    """A graph in a file that is loaded for each call."""

    graph: Path
    threads: int

    def run(self, feeds: Tensors) -> dict[str, Array]:
        return GivenSession(self.graph, threads=self.threads).run(feeds)
