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

Array = np.ndarray[Any, np.dtype[Any]]

SUFFIX: Final = "/seen"
"""How an output is called that answers a value on the way, after the value's name."""
ROWS: Final = 256
"""So many rows of each activation are kept."""


@dataclass(frozen=True)
class Activation:
    """What was seen of an activation: least and most, the largest magnitude of each channel, and some rows of it.

    Rows have the channels last: float32[rows, channels].
    """

    least: float
    most: float
    peaks: Array
    rows: Array


def tapped(model: ir.Model, wanted: Sequence[Product]) -> ir.Model:
    """Returns a copy that also answers what goes into some products; the copy shares the weights."""
    copy = cloned(model)
    values = {value.name: value for value in _values(copy.graph)}
    for name in dict.fromkeys(one.activation.name for one in wanted):
        identity = ir.node("Identity", [values[name]], name=f"{name}{SUFFIX}")
        identity.outputs[0].name = f"{name}{SUFFIX}"
        identity.outputs[0].dtype, identity.outputs[0].shape = ir.DataType.FLOAT, values[name].shape
        copy.graph.append(identity)
        copy.graph.outputs.append(identity.outputs[0])
    return copy


def activations(
    session: Session, feeds: Iterable[Tensors], wanted: Sequence[Product], *, seed: int = 0
) -> dict[str, Activation]:
    """Runs what `tapped` made on samples, and returns what was seen, by the name of the value.

    Raises:
        UsageError: when there are no samples, or NaN or infinity goes into a product.
    """
    channels = {f"{one.activation.name}{SUFFIX}": one.channels for one in wanted}
    seen: dict[str, _Seen] = {name: _Seen(np.random.default_rng(seed)) for name in channels}
    for one in feeds:
        answers = session.run(one)
        for name, axis in channels.items():
            seen[name].take(np.moveaxis(answers[name], axis, -1), name.removesuffix(SUFFIX))
    return {name.removesuffix(SUFFIX): one.told() for name, one in seen.items()}


class _Seen:
    """One activation while samples run: a number of rows is drawn, each row seen being as likely."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._parts: list[tuple[Array, Array]] = []
        self._least, self._most = np.inf, -np.inf
        self._peaks: Array | None = None

    def take(self, array: Array, name: str) -> None:
        if not np.isfinite(array).all():
            raise UsageError(
                f"calibration: '{name}' holds NaN or infinity on the samples, and no scale holds these. "
                "Mend the samples, or keep float32."
            )
        rows = array.reshape(-1, array.shape[-1])
        if not rows.size:
            return
        self._least, self._most = min(self._least, float(rows.min())), max(self._most, float(rows.max()))
        peaks = np.abs(rows).max(axis=0)
        self._peaks = peaks if self._peaks is None else np.maximum(self._peaks, peaks)
        self._parts.append((self._rng.random(len(rows)), rows))
        if sum(len(own) for _, own in self._parts) > 8 * ROWS:
            self._parts = [self._drawn()]

    def told(self) -> Activation:
        if self._peaks is None:
            raise UsageError("calibration: scales are measured on samples, and there are none. Give at least one.")
        return Activation(self._least, self._most, self._peaks, self._drawn()[1])

    def _drawn(self) -> tuple[Array, Array]:
        lots, rows = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        kept = np.argsort(lots)[:ROWS]
        return lots[kept], rows[kept]


def _values(graph: ir.Graph) -> Iterable[ir.Value]:
    yield from graph.inputs
    yield from (value for node in graph for value in node.outputs)
