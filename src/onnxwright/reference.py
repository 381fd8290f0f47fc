"""What a candidate is held against: PyTorch (or the given graph) as it answers, and how noisy its answers are."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Session, Tensors
from onnxwright.dtypes import HALVES, is_float
from onnxwright.errors import ForwardError
from onnxwright.files import size_of
from onnxwright.given import FEW_BYTES, MOST_BYTES, GivenSession, Shelf
from onnxwright.samples import TYPICAL
from onnxwright.source import Source

if TYPE_CHECKING:
    import onnx_ir

_LONGEST_REASON = 120
_ROUNDING = 2.0**-24
_FINER = 64.0
_ORDERS = 32
"""In so many orders it goes through equal elements, and so often it rounds otherwise."""
_LESS = 8.0
"""What moves by a shift moves by so much less, at least, when the shift is so many times finer, unless it jumps."""


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
    led: Callable[[Tensors, Sequence[Array]], dict[str, Array]] | None = None
    """The reference with each such number where another computation has put it, all of which are given."""
    turned: Callable[[Tensors, int], dict[str, Array]] | None = None
    """Answers with others taken of equal elements; which, a number says."""
    jittered: Callable[[Tensors, int], dict[str, Array]] | None = None
    """Answers with sums and functions rounded otherwise; how, a number says. Nothing where that decides nothing."""
    rounded: Twin | None = None
    """The reference with each number rounded where it says so, where its engine leaves that out."""
    in_halves: Collection[str] = ()
    """The outputs on whose way it rounds to float16 or bfloat16, be it in some places only."""
    rest: Callable[[], None] = lambda: None
    """Has it let go of the memory that it can do without until it's asked again."""

    @property
    def label(self) -> str:
        """What the reference is, in words."""
        return f"{self.session.ran.backend} {self.session.ran.version} {self.session.ran.precision}"

    def noise(self, feeds: Tensors, answered: Tensors) -> dict[str, float]:
        """Returns for each output how far the reference lies from the farthest of its twins on these feeds.

        Where a twin can't answer, the others count; where none can, there is no noise that could excuse anything.
        """
        noise = dict.fromkeys(answered, 0.0)
        for twin in (self.twin, self.order, self.rounded):
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

    def otherwise(self, feeds: Tensors) -> Iterator[Tensors | None]:
        """Answers again and again with others taken of equal elements, of which it picks one; never where it can't.

        None stands for a refusal.
        """
        if self.turned is None or not self.has_ties(feeds):
            return
        yield from _again(self.turned, feeds)

    def tossed(self, feeds: Tensors) -> Iterator[Tensors | None]:
        """Answers again and again with sums and functions rounded otherwise; never where that decides nothing.

        None stands for a refusal.
        """
        if self.jittered is not None:
            yield from itertools.takewhile(lambda other: other != {}, _again(self.jittered, feeds))

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
        far = {name: _noise(still[name], moved[name]) for name in still}
        near = {name: _noise(still[name], less[name]) for name in still}
        return {name: far[name] for name in still if near[name] <= far[name] / _LESS}


def _again(answer: Callable[[Tensors, int], dict[str, Array]], feeds: Tensors) -> Iterator[dict[str, Array] | None]:
    for number in range(_ORDERS):
        try:
            yield answer(feeds, number)
        except ForwardError:
            yield None


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
    chosen = functools.partial(
        Reference,
        in_halves=_halved(source, session),
        has_ties=session.has_ties,
        tipped=_Answering(session.run_tipped),
        led=session.run_led,
        turned=session.run_turned,
        jittered=session.run_jittered,
    )
    ordered = "float32 on another number of threads and without fused kernels"
    try:
        session.run_widened(source.sampler.draw(source.traced, TYPICAL), mode)
        in_halves = session.rounded
    except ForwardError as problem:
        told = " ".join(str(problem).split())[:_LONGEST_REASON]
        origin = f"{ordered}, since float64 could not run ({told})"
        return chosen(session, order, origin)
    narrow = f" (but for {', '.join(sorted(mode.narrow))})" if mode.narrow else ""
    origin = f"PyTorch in float64{narrow} against float32, or {ordered}, whichever lies farther"
    twin = _Answering(lambda feeds: session.run_widened(feeds, Widening()))

    def shifted(feeds: Tensors, part: float) -> dict[str, Array]:
        return session.run_widened(feeds, Widening(), shift=part)

    return chosen(session, twin, origin, order, shifted=shifted, in_halves=in_halves)


def _noise(answered: Array, other: Array) -> float:
    """How far another answer lies from one, in the same unit as a candidate's error: relative to what was answered.

    Where all cancels and the other is zero throughout, its own scale would say nothing.
    """
    if answered.shape != other.shape:
        return float("inf")
    if not is_float(answered.dtype.name):
        return 0.0 if np.array_equal(answered, other) else float("inf")
    return tolerance.distance(answered.astype(other.dtype), other)


def _halved(source: Source, session: Session) -> Collection[str]:
    """The outputs that are taken to be rounded to halves, where no more is known than the type of most weights."""
    return source.signature.output_names if session.ran.precision in HALVES else ()


def _graph_reference(source: Source, threads: int) -> Reference:
    assert source.graph is not None
    graph, other, size = source.graph, 1 if threads > 1 else 2, size_of(source.graph)
    shelf = Shelf.of(graph)
    place = graph if shelf is None else shelf.graph
    session = GivenSession(graph, threads=threads, place=place)
    order = GivenSession(graph, threads=other) if size <= FEW_BYTES else _OnCall(place, other, shelf)
    write = functools.partial(_changed, place, threads, shelf) if size <= MOST_BYTES else lambda _: None
    precise, rounded = write(_in_float64), write(_rounding)
    chosen = functools.partial(
        Reference, session, rounded=rounded, rest=session.rest, in_halves=_halved(source, session)
    )
    ordered = f"the graph on {threads} against {other} threads"
    if rounded is not None:
        ordered = f"rounded to float16 wherever it says so, or {ordered}"
    if precise is None:
        return chosen(order, f"{ordered}, since it has no twin that adds in float64")
    return chosen(precise, f"the graph as it is against adding in float64, or {ordered}", order)


def _in_float64(model: onnx_ir.Model) -> onnx_ir.Model | None:
    """The graph with float16 as float32, and what adds up in float64; None where it has neither."""
    from onnxwright.graph.element_types import sum_in_float64
    from onnxwright.graph.widening import without_halves

    has_halves = without_halves(model)
    return model if sum_in_float64(model) or has_halves else None


def _rounding(model: onnx_ir.Model) -> onnx_ir.Model | None:
    """The graph with each float16 value rounded to that, which engines leave out on a CPU; None where it has none."""
    from onnxwright.graph.precision.witnessing import witness
    from onnxwright.graph.typed import infer_types
    from onnxwright.graph.widening import has_halves

    if not has_halves(model):
        return None
    infer_types(model)
    return witness(model)


def _changed(
    graph: Path, threads: int, shelf: Shelf | None, change: Callable[[onnx_ir.Model], onnx_ir.Model | None]
) -> Twin | None:
    """The graph once it was changed; none where nothing is to be changed, or it can't be written or run so."""
    from onnxwright.graph.reading import read_model
    from onnxwright.graph.saving import saved
    from onnxwright.graph.sharing import save_variant

    model = change(read_model(graph))
    if model is None:
        return None
    with contextlib.suppress(ForwardError, OSError):
        if shelf is None:
            with saved(model, graph.name) as file:
                return GivenSession(file, threads=threads)
        file = graph.with_name("precise.onnx" if change is _in_float64 else "rounded.onnx")
        save_variant(model, file, graph)
        GivenSession(file, threads=threads, place=file)
        return _OnCall(file, threads, shelf)
    return None


@dataclass(frozen=True)
class _OnCall:
    """A graph of many weights as a twin: it is loaded for each call, of which there are few, from where it lies."""

    graph: Path
    threads: int
    shelf: Shelf | None

    def run(self, feeds: Tensors) -> dict[str, Array]:
        return GivenSession(self.graph, threads=self.threads, place=self.graph).run(feeds)
