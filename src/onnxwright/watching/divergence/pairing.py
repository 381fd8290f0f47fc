"""Pairs what PyTorch computes in a step with what a graph computes at the same place."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxwright import tolerance
from onnxwright.backends import Array, Tensors
from onnxwright.dtypes import is_float
from onnxwright.graph.cutting import operands

CERTAIN: Final = 1e-3
"""An error that is never taken for rounding that has grown."""
_MOST_AXES: Final = 5


class Match(NamedTuple):
    """What came of a step: its error beside the nearest value of its place, which that is, and its shape."""

    error: float
    value: ir.Value | None
    shape: tuple[int, ...]


def nearest(expected: Array, values: Iterable[ir.Value], answered: Tensors) -> Match | None:
    """Pairs a step with the value that is nearest to it; one of another shape is infinitely far.

    A constant of the same shape may be any number of that line, so it counts only where it agrees.
    """
    found: Match | None = None
    for value in values:
        array = answered[str(value.name)]
        if kind(array) != kind(expected) or array.ndim != expected.ndim or array.size <= 1 < expected.size:
            continue
        error = tolerance.distance(expected, _laid_out_as(expected, array.astype(expected.dtype)))
        producer = value.producer()
        is_constant = producer is not None and producer.op_type == "Constant"
        if is_constant and array.shape == expected.shape and error > tolerance.LEAST_LIMIT:
            continue
        if found is None or error < found.error:
            found = Match(error, value, array.shape)
    return found


def _laid_out_as(expected: Array, array: Array) -> Array:
    """Returns an array in the shape of another where it is that one transposed, or repeated, and nothing else."""
    if array.shape == expected.shape:
        return array
    if array.size == expected.size:
        for axes in itertools.permutations(range(array.ndim)) if array.ndim <= _MOST_AXES else ():
            moved = array.transpose(axes)
            if moved.shape == expected.shape and tolerance.distance(expected, moved) < CERTAIN:
                return moved
    is_repeated = all(want in {1, got} for want, got in zip(expected.shape, array.shape, strict=True))
    return array[tuple(slice(size) for size in expected.shape)] if is_repeated else array


def constants(nodes: Iterable[ir.Node]) -> Iterator[Array]:
    """Yields the constants that nodes take."""
    for value in (value for node in nodes for value in operands(node)):
        if (constant := ir.convenience.get_const_tensor(value)) is not None:
            yield constant.numpy()


def is_cut_otherwise(value: Array, constant: Array) -> bool:
    """Whether two arrays of different shapes hold the same numbers as far as both reach."""
    if value.ndim != constant.ndim or value.shape == constant.shape:
        return False
    common = tuple(slice(min(sizes)) for sizes in zip(value.shape, constant.shape, strict=True))
    return np.array_equal(value[common].astype(np.float64), constant[common].astype(np.float64))


def kind(array: Array) -> str:
    """Returns what numbers an array holds: `float`, `i` or `b`."""
    return "float" if is_float(array.dtype.name) else array.dtype.kind.replace("u", "i")
