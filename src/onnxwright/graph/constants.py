"""What rewrites ask of values: numbers that never change, and weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import onnx_ir as ir

_ROUNDED: Final = 1e-5
"""How far a number may be from what was meant, beside it, where it is in float32."""
_ROUNDED_TO_HALF: Final = 2e-3
"""Where it is in float16, and a product of two such numbers at most: each is rounded by 2**-11."""


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
    return given is not None and math.isclose(given, expected, rel_tol=_ROUNDED)


def is_near(given: float, expected: float, beside: ir.Value) -> bool:
    """Whether a number that a graph multiplies a value by is what was meant, as far as the type of that can tell."""
    is_half = beside.dtype == ir.DataType.FLOAT16
    return math.isclose(given, expected, rel_tol=_ROUNDED_TO_HALF if is_half else _ROUNDED)


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
