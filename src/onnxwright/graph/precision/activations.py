"""What goes into products: its range, its largest number by channel, and some of its rows, seen on samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from onnxwright.backends import Session, Tensors
from onnxwright.errors import UsageError
from onnxwright.graph.passes import cloned
from onnxwright.graph.precision.products import Product
from onnxwright.graph.surfacing import nodes_with_branches, surface

Array = np.ndarray[Any, np.dtype[Any]]

SUFFIX: Final = "/seen"
"""How an output is called that answers a value on the way, after the value's name."""
ROWS: Final = 256
"""So many rows of each activation are kept."""
_POOL: Final = 2 * ROWS
"""With more rows in memory than these, those that aren't drawn are dropped."""


@dataclass(frozen=True)
class Extent:
    """How far an activation reaches: least, most, and the largest magnitude of each channel."""

    least: float
    most: float
    peaks: Array

    def and_then(self, other: Extent) -> Extent:
        """Returns how far it reaches in both."""
        peaks = np.maximum(self.peaks, other.peaks)
        return Extent(min(self.least, other.least), max(self.most, other.most), peaks)


@dataclass(frozen=True)
class Activation:
    """What was seen of an activation.

    `part` is how far it reaches on every other sample; `rows` are drawn from the others, so that they show what comes
    of scales by which they weren't chosen. Rows have the channels last: float32[rows, channels].
    """

    extent: Extent
    part: Extent
    rows: Array


def tapped(model: ir.Model, wanted: Sequence[Product]) -> ir.Model:
    """Returns a copy that also answers what goes into some products; the copy shares the weights."""
    copy = cloned(model)
    values = {value.name: value for value in _values(copy.graph)}
    surface(copy, {f"{one.activation.name}{SUFFIX}": values[one.activation.name] for one in wanted})
    return copy


def activations(
    session: Session, feeds: Iterable[Tensors], wanted: Sequence[Product], *, seed: int = 0
) -> dict[str, Activation]:
    """Runs what `tapped` made on samples, and returns what was seen, by the name of the value.

    Of values in branches that no sample took there is nothing.

    Raises:
        UsageError: when there are no samples, or NaN or infinity goes into a product.
    """
    channels = {f"{one.activation.name}{SUFFIX}": one.channels for one in wanted}
    seen: dict[str, _Seen] = {name: _Seen(np.random.default_rng(seed)) for name in channels}
    for number, one in enumerate(feeds):
        answers = session.run(one)
        for name, axis in channels.items():
            if answers[name].size:
                rows = np.moveaxis(answers[name], axis, -1)
                seen[name].take(rows, name.removesuffix(SUFFIX), is_odd=bool(number % 2))
    told = {name.removesuffix(SUFFIX): one.told() for name, one in seen.items() if one.is_anything}
    if not told:
        raise UsageError("calibration: scales are measured on samples, and there are none. Give at least one.")
    return told


class _Seen:
    """One activation while samples run: a number of rows is drawn, each row seen being as likely."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._drawn: list[tuple[Array, Array]] = []
        self._extents: dict[bool, Extent] = {}

    def take(self, array: Array, name: str, *, is_odd: bool) -> None:
        if not np.isfinite(array).all():
            raise UsageError(
                f"calibration: '{name}' holds NaN or infinity on the samples, and no scale holds these. "
                "Mend the samples, or keep float32."
            )
        rows = array.reshape(-1, array.shape[-1])
        found = Extent(float(rows.min()), float(rows.max()), np.abs(rows).max(axis=0))
        known = self._extents.get(is_odd)
        self._extents[is_odd] = found if known is None else known.and_then(found)
        # Of the first sample as well: there may be no other.
        if is_odd or not self._drawn:
            self._drawn.append((self._rng.random(len(rows)), rows))
        if sum(len(own) for _, own in self._drawn) > _POOL:
            self._drawn = [self._fewer()]

    @property
    def is_anything(self) -> bool:
        return bool(self._extents)

    def told(self) -> Activation:
        part = self._extents.get(False, self._extents.get(True))
        assert part is not None, "one of them is there"
        return Activation(self._extents.get(True, part).and_then(part), part, self._fewer()[1])

    def _fewer(self) -> tuple[Array, Array]:
        lots, rows = (np.concatenate(parts) for parts in zip(*self._drawn, strict=True))
        kept = np.argsort(lots)[:ROWS]
        return lots[kept], rows[kept]


def _values(graph: ir.Graph) -> Iterable[ir.Value]:
    yield from graph.inputs
    yield from (value for node in nodes_with_branches(graph) for value in node.outputs)
