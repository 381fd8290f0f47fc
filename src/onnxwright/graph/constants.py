"""What rewrites ask of values: numbers that never change, and weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir


def array(value: ir.Value | None) -> np.ndarray[Any, np.dtype[Any]] | None:
    """Returns the numbers of a value that is constant; one that callers may replace is none."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def number(value: ir.Value | None) -> float | None:
    """Returns the one number of a constant value, which adds no axes to what it's combined with."""
    tensor = None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1 or len(tensor.shape) > 1 or tensor.dtype == ir.DataType.STRING:
        return None
    return float(tensor.numpy().reshape(-1)[0])


def is_close(value: ir.Value | None, expected: float) -> bool:
    """Whether a value is that number, as far as float32 can tell."""
    given = number(value)
    return given is not None and bool(np.isclose(given, expected, rtol=1e-5, atol=0.0))


def weight(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Returns the tensor that the graph holds for a value, unread; None for what is computed or given."""
    if value is None or value.is_graph_input() or not value.is_initializer():
        return None
    return value.const_value


def commuted(one: ir.Value | None, other: ir.Value | None) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Yields two operands in both orders."""
    if one is not None and other is not None:
        yield one, other
        yield other, one
