"""What becomes of numbers in a lower type: those of weights, read one at a time, and of constants."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from onnxwright.dtypes import to_numpy
from onnxwright.graph.precision.formats import FLOAT, Format

Array = np.ndarray[Any, np.dtype[Any]]
_BLOCK: Final = 1 << 20
_EXTENT: Final = "onnxwright.extent"


@dataclass(frozen=True)
class Extent:
    """The largest finite magnitude among numbers, and the least but 0; 0 and infinity where there are only zeros."""

    largest: float
    least: float


def extent(tensor: ir.TensorProtocol) -> Extent:
    """Returns the extent of a tensor, of which a part is copied at a time; it is remembered with the tensor."""
    if _EXTENT not in tensor.meta:
        parts = [Extent(0.0, math.inf), *_extents(tensor.numpy())]
        tensor.meta[_EXTENT] = Extent(max(part.largest for part in parts), min(part.least for part in parts))
    known: Extent = tensor.meta[_EXTENT]
    return known


def lower(tensor: ir.TensorProtocol, format_: Format) -> ir.TensorProtocol:
    """Returns a tensor in a lower type, made anew each time that its numbers are asked for.

    What is finite stays finite where the type reaches as far as float32: the very largest would round to infinity.
    """
    shape = ir.Shape(tensor.shape.numpy())
    return ir.LazyTensor(lambda: _lowered(tensor, format_), format_.dtype, shape, name=tensor.name)


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Returns the float32 numbers that a graph holds for a value, unread; None for what callers may replace."""
    if value is None or value.dtype != FLOAT or value.is_graph_input():
        return None
    return value.const_value if value.is_initializer() else None


def _lowered(tensor: ir.TensorProtocol, format_: Format) -> ir.TensorProtocol:
    wide = tensor.numpy()
    if format_.is_as_wide:
        largest = np.float32(format_.largest)
        wide = np.where(np.isfinite(wide), np.clip(wide, -largest, largest), wide)
    with np.errstate(over="ignore"):
        return ir.Tensor(wide.astype(to_numpy(format_.name)), dtype=format_.dtype, name=tensor.name)


def _extents(array: Array) -> Iterator[Extent]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        magnitude = np.abs(flat[start : start + _BLOCK])
        magnitude = magnitude[np.isfinite(magnitude) & (magnitude > 0)]
        yield Extent(float(magnitude.max(initial=0.0)), float(magnitude.min(initial=math.inf)))
