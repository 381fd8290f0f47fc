"""Language models: the next token should be as little of a surprise as to the reference."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from onnxwright.backends import Array
from onnxwright.estimates import Statistic, bootstrap, everything
from onnxwright.losses import Answers, Estimate, Given, Kind, Purpose, no_metric
from onnxwright.tasks import IDS, LOGITS
from onnxwright.text import Encoding


class Language:
    """The ratio of perplexities less one, on the samples or on what the reference would write: the greater.

    On the samples alone, a variant of a model that knows little of their language may seem better than its reference,
    however far from it. What the reference would write it answers with the Kullback-Leibler divergence.
    """

    name = "language"
    told = "the perplexity over the reference's, less one: on the samples or on its own words, whichever is greater"
    budget = 0.01
    serves = "text generation"
    labelled = "none: the next tokens are the labels"
    is_general = False

    def fits(self, purpose: Purpose) -> bool:
        """Whether the task is to continue a text."""
        names = (LOGITS in purpose.signature.output_names, IDS in purpose.signature.input_names)
        return purpose.task == "text-generation" and all(names)

    def estimate(self, expected: Answers, answered: Answers) -> Estimate:
        """Compares what each token of the samples was given by those before it.

        Whole samples are drawn for the interval. The divergence is the mean over tokens of Kullback and Leibler's, of
        the answers from the reference, in nats.
        """
        samples = zip(expected.places(LOGITS), answered.places(LOGITS), expected.fed(IDS), strict=True)
        table = np.array([_sums(*sample) for sample in samples])
        whole = everything(len(table))
        right, found, divergence, agreed, tokens = table.sum(axis=0)
        if not tokens:
            return Estimate(math.inf, None, {})

        def lost(chosen: Array) -> float:
            right, found, divergence, _, tokens = table[chosen].sum(axis=0)
            return _exp(max(found - right, divergence) / tokens) - 1.0 if tokens else math.nan

        parts = {
            "perplexity": _exp(found / tokens),
            "reference's perplexity": _exp(right / tokens),
            "perplexity lost": _exp((found - right) / tokens) - 1.0,
            "KL divergence": divergence / tokens,
            "likeliest token kept": agreed / tokens,
        }
        return Estimate(lost(whole), bootstrap(lost, len(table)), parts)

    def aligned(self, given: Given, encoding: Encoding, purpose: Purpose) -> Any:
        """Returns the label as it is."""
        return given.label

    def scores(self, answers: Answers, labels: Sequence[Any]) -> Mapping[str, Statistic]:
        """Refuses labels: the next tokens are those."""
        raise no_metric(self, labels)


LOSS: Kind = Language()

_ROWS: Final = 16
"""So many tokens are compared at once: what they take of memory for a large vocabulary stays in the caches."""


def _sums(right: Array, found: Array, ids: Array) -> tuple[float, float, float, float, int]:
    """Sums over the next tokens: surprise by the reference and by the answers, divergence, agreement, and count."""
    following = ids[1:].astype(np.int64)
    parts = [
        _sums_of_block(*(array[start : min(start + _ROWS, len(following))] for array in (right, found, following)))
        for start in range(0, len(following), _ROWS)
    ]
    surprise, own, divergence, agreed = np.sum(parts, axis=0) if parts else np.zeros(4)
    return float(surprise), float(own), float(divergence), float(agreed), len(following)


def _sums_of_block(right: Array, found: Array, following: Array) -> tuple[float, float, float, float]:
    expected, answered = _log_shares(right), _log_shares(found)
    at = (np.arange(len(following)), following)
    is_possible = np.isfinite(expected)
    differences = np.subtract(expected, answered, out=np.zeros_like(expected), where=is_possible)
    divergence = np.vdot(np.exp(expected), differences)
    agreed = (expected.argmax(axis=-1) == answered.argmax(axis=-1)).sum()
    return -expected[at].sum(), -answered[at].sum(), float(divergence), agreed


def _log_shares(logits: Array) -> Array:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return np.asarray(wide)


def _exp(nats: float) -> float:
    """Returns e to that power, infinite where no number holds it."""
    return math.exp(nats) if nats < math.log(sys.float_info.max) else math.inf
