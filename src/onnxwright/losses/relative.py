"""Any numbers: they should lie near the reference's, by their own scale."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from onnxwright.backends import Array
from onnxwright.estimates import Statistic, bootstrap, everything, ratio_of
from onnxwright.losses import Answers, Estimate, Given, Kind, Purpose, no_metric
from onnxwright.text import Encoding


class Relative:
    """The root of the mean squared error over that of the mean squared reference, of the output with the greatest.

    Whole numbers and booleans are right or wrong: the share of those that differ.
    """

    name = "relative"
    told = "the greatest error of an output: root mean square over the reference's own, or share of whole numbers wrong"
    budget = 0.01
    serves = "everything else, regression among it"
    labelled = "none"
    is_general = True

    def fits(self, purpose: Purpose) -> bool:
        """Serves every model."""
        return True

    def estimate(self, expected: Answers, answered: Answers) -> Estimate:
        """Compares every output over all samples; the interval is that of the greatest error, samples drawn anew."""
        errors = {name: _error(name, expected, answered) for name in expected.outputs[0]}
        whole = everything(len(expected.outputs))
        found = {name: error(whole) for name, error in errors.items()}
        interval = bootstrap(lambda chosen: max(error(chosen) for error in errors.values()), len(whole))
        return Estimate(max(found.values()), interval, found)

    def aligned(self, given: Given, encoding: Encoding, purpose: Purpose) -> Any:
        """Returns the label as it is."""
        return given.label

    def scores(self, answers: Answers, labels: Sequence[Any]) -> Mapping[str, Statistic]:
        """Refuses labels: nobody knows what the numbers mean."""
        raise no_metric(self, labels)


LOSS: Kind = Relative()


_FILLED: Final = 1e4
"""Numbers so many times as large as the usual one, as fill masked places, would hide the errors of all others."""


def _error(name: str, expected: Answers, answered: Answers) -> Statistic:
    pairs = zip(expected.samples(name), answered.samples(name), strict=True)
    if expected.outputs[0][name].dtype.kind in "iub":
        differing, sizes = np.array([((right != found).sum(), right.size) for right, found in pairs]).T
        return ratio_of(differing, sizes)
    usual = float(np.median([_usual(right) for right in expected.samples(name)]))
    errors, scales = np.array([_squares(right, found, usual) for right, found in pairs]).T
    ratio = ratio_of(errors, scales)
    return lambda chosen: _root(ratio(chosen), error=errors[chosen].sum())


def _usual(sample: Array) -> float:
    magnitudes = np.abs(sample)
    counted = magnitudes[np.isfinite(magnitudes) & (magnitudes > 0)]
    return float(np.median(counted)) if counted.size else 0.0


def _squares(right: Array, found: Array, usual: float) -> tuple[float, float]:
    """Sums the squares of errors and of reference; where that is a filling, the error counts by its own magnitude."""
    finite = np.isfinite(right)
    magnitude, error = np.abs(right[finite]), np.abs(found[finite] - right[finite])
    is_filling = magnitude > _FILLED * usual
    counted = np.divide(error * usual, magnitude, out=error.copy(), where=is_filling)
    return float((counted**2).sum()), float((magnitude[~is_filling] ** 2).sum())


def _root(ratio: float, *, error: float) -> float:
    """Returns the root; infinite where the reference is zero throughout and the answers aren't."""
    return math.inf if not ratio and error else math.sqrt(ratio)
