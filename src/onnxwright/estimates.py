"""Numbers from samples, and how far to trust them: ranks, shares, and intervals that hold with 95 % confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Interval = tuple[float, float]
Statistic = Callable[[Array], float]
"""A number of the samples with these indices, each as often as it is there."""

_RESAMPLES: Final = 1000
_OUTER_PERCENTS: Final = (2.5, 97.5)
_NORMAL_QUANTILE: Final = 1.959964
"""97.5 % of a standard normal variable lie below."""


def bootstrap(statistic: Statistic, count: int, *, seed: int = 0) -> Interval | None:
    """Returns the percentile bootstrap interval of a statistic of `count` samples (95 %).

    Samples are drawn with replacement, and the statistic taken anew each time; its 2.5 and 97.5 percentiles are the
    ends (B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3). Draws for which the
    statistic isn't finite, as a rank correlation of equal numbers, are left out. None where there are fewer than two
    samples, of which nothing is known.
    """
    if count < 2:
        return None
    rng = np.random.default_rng(seed)
    drawn = np.array([statistic(rng.integers(0, count, count)) for _ in range(_RESAMPLES)])
    finite = drawn[np.isfinite(drawn)]
    if not finite.size:
        return None
    low, high = np.percentile(finite, _OUTER_PERCENTS)
    return float(low), float(high)


def wilson(hits: int, count: int, quantile: float = _NORMAL_QUANTILE) -> Interval:
    """Returns the interval of a share of independent cases: `hits` of `count` (95 %, or by a normal quantile).

    It has width where there are no hits at all (E. B. Wilson, Probable inference, the law of succession, and
    statistical inference, JASA 22, 1927).
    """
    if not count:
        return (0.0, 1.0)
    share, square = hits / count, quantile**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = quantile * math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    low = 0.0 if hits == 0 else max(0.0, middle - reach)
    return low, 1.0 if hits == count else min(1.0, middle + reach)


def root_mean_square(values: Sequence[float]) -> float:
    """Returns the root of the mean of the squares."""
    return math.sqrt(sum(value**2 for value in values) / len(values))


def ranks(values: Array) -> Array:
    """Returns the rank of each value, from 0; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Array = (ends - counts + ends - 1) / 2.0
    return means[place.reshape(-1)]


def spearman(first: Array, second: Array) -> float:
    """Returns the rank correlation of two rows of numbers; NaN where all numbers of one are equal."""
    one, other = (centred(ranks(values)) for values in (first, second))
    scale = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / scale if scale > 0 else math.nan


def widest(*intervals: Interval | None) -> Interval | None:
    """Returns the interval that holds all that are known; None where none is."""
    known = [interval for interval in intervals if interval is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def centred(values: Array) -> Array:
    """Returns the values less their mean."""
    return np.asarray(values - values.mean()) if values.size else values


def mean_of(values: Array) -> Statistic:
    """Returns the statistic that is the mean of one number a sample."""
    return lambda chosen: float(values[chosen].mean())


def ratio_of(numerators: Array, denominators: Array, *, empty: float = 0.0) -> Statistic:
    """Returns the statistic that is one sum over samples divided by another; `empty` where that one is 0."""

    def ratio(chosen: Array) -> float:
        whole = float(denominators[chosen].sum())
        return float(numerators[chosen].sum()) / whole if whole else empty

    return ratio


def everything(count: int) -> Array:
    """Returns the index of each sample once."""
    return np.arange(count)
