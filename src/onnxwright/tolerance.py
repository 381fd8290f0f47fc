"""How far two answers lie apart, and how far they may."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from onnxwright.dtypes import is_float

Array = np.ndarray[Any, np.dtype[Any]]

EXACT: Final = "exact"
SAME_PRECISION: Final = "same-precision"

RUN_TO_RUN: Final = 1e-6
"""How far two runs of one session on the same inputs may lie apart: the order in which threads add up."""

FLOOR_MULTIPLE: Final = 32.0
"""How many times its own float32 noise an output may lie from the reference in the same precision."""
LEAST_LIMIT: Final = 1e-5
"""Where the noise is smaller than this rounding of a float32 sum, this is the limit."""
MOST_LIMIT: Final = 2e-2
"""An output whose noise asks for more than this can't be told from a wrong one."""


def distance(reference: Array, candidate: Array) -> float:
    """Returns the largest error of any element, relative to the element and to the tensor's own scale.

    `max |c - r| / (|r| + s)`, where `s` is the median magnitude of the finite, nonzero elements of the reference,
    so that neither a few huge elements (a mask's -1e9) nor many zeros hide an error. Integers and booleans are
    0 or infinity apart. A NaN equals only a NaN, an infinity only itself.
    """
    if reference.shape != candidate.shape or reference.dtype != candidate.dtype:
        return float("inf")
    if not is_float(reference.dtype.name):
        return 0.0 if np.array_equal(reference, candidate) else float("inf")
    return _float_distance(_widened(reference), _widened(candidate))


def limit(floor: float) -> float:
    """Returns the limit of the class `same-precision` for an output with this noise floor."""
    return max(LEAST_LIMIT, FLOOR_MULTIPLE * floor)


def _float_distance(reference: Array, candidate: Array) -> float:
    finite = np.isfinite(reference)
    if not np.array_equal(reference[~finite], candidate[~finite], equal_nan=True):
        return float("inf")
    if not np.isfinite(candidate[finite]).all():
        return float("inf")
    expected = reference[finite]
    if expected.size == 0:
        return 0.0
    magnitude = np.abs(expected)
    nonzero = magnitude[magnitude > 0]
    scale = float(np.median(nonzero)) if nonzero.size else 1.0
    error = np.abs(candidate[finite] - expected) / (magnitude + scale)
    return float(error.max())


def _widened(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
