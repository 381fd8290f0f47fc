"""How far two answers lie apart, and how far they may."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from onnxwright.dtypes import is_float

Array = np.ndarray[Any, np.dtype[Any]]

SAME_PRECISION: Final = "same-precision"

RUN_TO_RUN: Final = 1e-6
"""How far two runs of one session on the same inputs may lie apart: the order in which threads add up."""

FLOOR_MULTIPLE: Final = 32.0
"""How many times its own float32 noise an output may lie from the reference in the same precision."""
_LEAST_COLUMN = 8
_COLUMN_FLOOR = 1e-3

COARSE_LIMIT: Final = 1e-5
"""Where an output's noise is as large as its small elements, no error may be larger than this part of its greatest."""
LEAST_LIMIT: Final = 1e-5
"""Where the noise is smaller than this rounding of a float32 sum, this is the limit."""
MOST_LIMIT: Final = 2e-2
"""An output whose noise asks for more than this can't be told from a wrong one."""


def distance(reference: Array, candidate: Array) -> float:
    """Returns the largest error of any element, relative to the element and to the tensor's own scale.

    `max |c - r| / (|r| + s)`, where `s` is the median magnitude of the finite, nonzero elements of the reference, so
    that neither a few huge elements (a mask's -1e9) nor many zeros hide an error. Where the last axis has columns of
    their own scale (boxes beside scores), `s` is the column's, but at least a thousandth of the tensor's. Integers and
    booleans are 0 or infinity apart. A NaN equals only a NaN, an infinity only itself.
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
    if not finite.any():
        return 0.0
    expected = np.where(finite, reference, 0.0)
    magnitude = np.abs(expected)
    error = np.abs(np.where(finite, candidate, 0.0) - expected)
    return float((error / (magnitude + _scale(magnitude))).max())


def coarse_distance(reference: Array, candidate: Array) -> float:
    """Returns the largest error of any element relative to the tensor's greatest magnitude: `max |c - r| / max |r|`."""
    finite = np.isfinite(reference)
    expected, answered = _widened(reference[finite]), _widened(candidate[finite])
    greatest = np.abs(expected).max(initial=0.0)
    return float(np.abs(answered - expected).max(initial=0.0) / greatest) if greatest > 0 else 0.0


def _scale(magnitude: Array) -> Array | float:
    nonzero = magnitude[magnitude > 0]
    if nonzero.size == 0:
        return 1.0
    whole = float(np.median(nonzero))
    if magnitude.ndim < 2 or magnitude[..., 0].size < _LEAST_COLUMN:
        return whole
    columns = np.median(magnitude.reshape(-1, magnitude.shape[-1]), axis=0)
    return np.asarray(np.where(columns > 0, np.clip(columns, _COLUMN_FLOOR * whole, whole), whole))


def _widened(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
