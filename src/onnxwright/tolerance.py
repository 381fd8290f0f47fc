"""How far two answers lie apart, and how far they may."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from onnxwright.dtypes import is_float
from onnxwright.estimates import wilson

Array = np.ndarray[Any, np.dtype[Any]]

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
LEAST_DOUBLE_LIMIT: Final = 1e-12
"""The same for a float64 sum."""
MOST_LIMIT: Final = 2e-2
"""An output whose noise asks for more than this can't be told from a wrong one."""

SWINGS: Final = 1.25
"""How many times as far an answer may lie as the reference moves when all that is a toss-up is rounded otherwise:
a candidate rounds some of it otherwise, whose changes may have cancelled."""

_OVERALL_MULTIPLE = 10.0
_LEAST_OVERALL = 2e-2
_MOST_OVERALL = 0.5
_LEAST_SHARE = 0.1
_SHARE_QUANTILE = 3.290527
"""99.95 % of a standard normal variable lie below."""

_BLOCK = 1 << 17
"""So many elements are widened at once; of columns eight times as many are sorted, unwidened."""


@dataclass(frozen=True)
class ToleranceClass:
    """How the noise of a reference becomes a limit: so many times as much, at least `least` and at most `most`."""

    name: str
    multiple: float
    least: float
    most: float
    is_overall: bool = False
    """Whether the error is that of a whole tensor (`overall_distance`)."""
    is_for_usual: bool = False
    """Whether it says nothing of values that a model isn't used with, but that the answer is finite."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of outputs in whole numbers that may differ in some elements: in what share of them."""

    beyond: float = FLOOR_MULTIPLE
    """So many times as much, where more times would be above `MOST_LIMIT`."""
    telling: float = MOST_LIMIT
    """An output whose noise asks for more than this can't be told from a wrong one."""

    def hides(self, noise: float) -> bool:
        """Whether float noise is so great that a wrong answer would look the same."""
        return not math.isfinite(noise) or self.beyond * noise > self.telling

    def of_whole_numbers(self, output: str) -> ToleranceClass:
        """Returns the class that an output in whole numbers or booleans is held to: equal, unless floats decide it."""
        share = self.shares.get(output)
        return EXACT if share is None else replace(self, multiple=0.0, least=share, most=share)

    def limit(self, noise: float) -> float:
        """Returns how far an answer may lie from the reference where float32 shows so much noise."""
        wanted = self.multiple * noise
        if wanted > MOST_LIMIT:
            wanted = max(MOST_LIMIT, min(self.beyond, self.multiple) * noise)
        return min(self.most, max(self.least, wanted))


EXACT: Final = ToleranceClass("exact", multiple=1.0, least=0.0, most=math.inf)
"""Whole numbers and booleans: equal, unless the reference and its twin differ themselves, which hides everything."""
SAME_PRECISION: Final = ToleranceClass("same-precision", FLOOR_MULTIPLE, LEAST_LIMIT, math.inf)
"""Candidates that compute in the types of the reference; what lies above `MOST_LIMIT` is left to the judge."""

SAME_DOUBLE: Final = ToleranceClass("same-precision", FLOOR_MULTIPLE, LEAST_DOUBLE_LIMIT, math.inf)
"""Outputs in float64, of which a candidate that computes them in float32 has lost half of the digits."""

SAME_HALF: Final = ToleranceClass("same-precision", FLOOR_MULTIPLE, LEAST_LIMIT, math.inf, beyond=8.0, telling=0.15)
"""Candidates for a reference that computes in float16 or bfloat16. Its noise is not the order of a sum, but what it
rounds at each step, and of that as much at one point as at another."""


def quantized(errors: Mapping[str, float], decided: Collection[str] = ()) -> ToleranceClass:
    """Returns the class of candidates that were made with samples, of which each element may be off by a few steps.

    They are held to ten times the greatest `overall_distance` that they have on these, and never to more than one half:
    steps are chosen by samples, and what lies beyond them saturates, which a single call may well show. `errors` are by
    output; those of `decided` are whole numbers which floats decide, as the place of the largest, and the same holds
    for the share of them that differs.
    """
    greatest = max((error for name, error in errors.items() if name not in decided), default=0.0)
    limit = _bounded(greatest, _LEAST_OVERALL)
    shares = {name: _bounded(error, _LEAST_SHARE) for name, error in errors.items() if name in decided}
    return ToleranceClass("lower-precision", 0.0, limit, limit, is_overall=True, is_for_usual=True, shares=shares)


def _bounded(error: float, least: float) -> float:
    return min(_MOST_OVERALL, max(least, _OVERALL_MULTIPLE * error))


def overall_distance(reference: Array, candidate: Array) -> float:
    """Returns the error of a whole tensor: the root of the mean square of the errors over that of the reference.

    What is not finite has to be equal. Whole numbers and booleans are apart by the share of elements that surely
    differs: the lower end of Wilson's interval with 99.9 % confidence, which is 0.08 where one of one does, so that a
    single label that turned out otherwise is not all labels.
    """
    if reference.shape != candidate.shape or reference.dtype != candidate.dtype:
        return math.inf
    if not is_float(reference.dtype.name):
        return wilson(int((reference != candidate).sum()), reference.size, _SHARE_QUANTILE)[0]
    squares = errors = 0.0
    for expected, answered in _blocks(reference, candidate):
        finite = np.isfinite(expected)
        is_same = np.array_equal(expected[~finite], answered[~finite], equal_nan=True)
        if not is_same or not np.isfinite(answered[finite]).all():
            return math.inf
        squares += float((np.abs(expected[finite]) ** 2).sum())
        errors += float((np.abs(answered[finite] - expected[finite]) ** 2).sum())
    if errors == 0.0:
        return 0.0
    return math.sqrt(errors / squares) if squares > 0 else math.inf


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
    return _float_distance(reference, candidate)


def differing(reference: Array, candidate: Array, limit: float) -> Array:
    """Returns which elements are farther apart than a limit, as `distance` has it; both have one shape and type."""
    if not is_float(reference.dtype.name):
        return np.asarray(reference != candidate)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(candidate.astype(np.float64) - reference) / (np.abs(reference) + _scale(reference))
    is_same = (reference == candidate) | (np.isnan(reference) & np.isnan(candidate))
    return np.asarray(~is_same & ~(apart <= limit))


def coarse_distance(reference: Array, candidate: Array) -> float:
    """Returns the largest error of any element relative to the tensor's greatest magnitude: `max |c - r| / max |r|`."""
    error = greatest = 0.0
    for expected, answered in _blocks(reference, candidate):
        finite = np.isfinite(expected)
        error = max(error, float(np.abs(answered[finite] - expected[finite]).max(initial=0.0)))
        greatest = max(greatest, float(np.abs(expected[finite]).max(initial=0.0)))
    return error / greatest if greatest > 0 else 0.0


def _float_distance(reference: Array, candidate: Array) -> float:
    scale = _scale(reference)
    pairs = _blocks(reference, candidate)
    return max((_block_distance(expected, answered, scale) for expected, answered in pairs), default=0.0)


def _block_distance(reference: Array, candidate: Array, scale: Array | float) -> float:
    finite = np.isfinite(reference)
    if not np.array_equal(reference[~finite], candidate[~finite], equal_nan=True):
        return float("inf")
    if not np.isfinite(candidate[finite]).all():
        return float("inf")
    expected = np.where(finite, reference, 0.0)
    error = np.abs(np.where(finite, candidate, 0.0) - expected)
    return float((error / (np.abs(expected) + scale)).max(initial=0.0))


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yields the same rows of several arrays, widened, so that never all of them are held in float64 at once."""
    width = arrays[0].shape[-1] if arrays[0].ndim else 1
    tables = [array.reshape(-1, width) if array.size else array.reshape(0, 1) for array in arrays]
    rows = max(1, _BLOCK // max(width, 1))
    for start in range(0, len(tables[0]), rows):
        yield tuple(_widened(table[start : start + rows]) for table in tables)


def _scale(reference: Array) -> Array | float:
    magnitude = _magnitude(reference)
    nonzero = magnitude if magnitude.all() else magnitude[magnitude > 0]
    if nonzero.size == 0:
        return 1.0
    whole = float(_medians(nonzero.reshape(-1, 1))[0])
    del nonzero
    if magnitude.ndim < 2 or magnitude[..., 0].size < _LEAST_COLUMN:
        return whole
    table = magnitude.reshape(-1, magnitude.shape[-1])
    step = max(1, 8 * _BLOCK // len(table))
    columns = np.concatenate([_medians(table[:, at : at + step]) for at in range(0, table.shape[1], step)])
    return np.asarray(np.where(columns > 0, np.clip(columns, _COLUMN_FLOOR * whole, whole), whole))


def _magnitude(array: Array) -> Array:
    """The magnitude of each element in a type that holds it without rounding; of what is not finite, zero."""
    if array.dtype.kind == "c":
        parts = [np.abs(block).reshape(-1) for (block,) in _blocks(array)]
        magnitude = np.concatenate(parts).reshape(np.atleast_1d(array).shape) if parts else np.zeros(array.shape)
    else:
        magnitude = np.atleast_1d(np.abs(array if array.dtype.itemsize >= 4 else array.astype(np.float32)))
    magnitude[~np.isfinite(magnitude)] = 0.0
    return np.asarray(magnitude)


def _medians(table: Array) -> Array:
    """The median of each column; the mean of the middle two is taken in float64."""
    middle = [(len(table) - 1) // 2, len(table) // 2]
    return np.asarray(np.partition(table, middle, axis=0)[middle].astype(np.float64).mean(axis=0))


def _widened(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
