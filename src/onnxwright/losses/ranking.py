"""Reranking: passages should keep their order."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxwright.backends import Array
from onnxwright.estimates import Statistic, bootstrap, spearman
from onnxwright.losses import Answers, Estimate, Given, Kind, Purpose, check_count, numbers
from onnxwright.tasks import LOGITS
from onnxwright.tasks.activations import ACTIVATIONS
from onnxwright.text import Encoding


class Ranking:
    """The share of pairs of samples of which the other one scores higher: Kendall's distance between two orders."""

    name = "ranking"
    told = "the share of pairs of samples that stand in another order than with the reference"
    budget = 0.01
    serves = "reranking"
    labelled = "Spearman's correlation of scores with labels"
    is_general = False

    def fits(self, purpose: Purpose) -> bool:
        """Whether the task is reranking."""
        return purpose.task == "reranking" and LOGITS in purpose.signature.output_names

    def estimate(self, expected: Answers, answered: Answers) -> Estimate:
        """Counts pairs in another order; two scores that become equal, or no longer are, count by half."""
        right, found = _scores(expected), _scores(answered)
        swapped = np.abs(_orders(right) - _orders(found)) / 2.0

        def share(chosen: Array) -> float:
            pairs = len(chosen) * (len(chosen) - 1)
            return float(swapped[np.ix_(chosen, chosen)].sum()) / pairs if pairs else 0.0

        shifts = np.abs(_activated(right, expected) - _activated(found, answered))
        return Estimate(
            loss=share(np.arange(len(right))),
            interval=bootstrap(share, len(right)),
            parts={"ranking": spearman(right, found), "mean score shift": float(shifts.mean())},
        )

    def aligned(self, given: Given, encoding: Encoding, purpose: Purpose) -> Any:
        """Returns the label as it is."""
        return given.label

    def scores(self, answers: Answers, labels: Sequence[Any]) -> Mapping[str, Statistic]:
        """Returns Spearman's correlation of the scores with their labels."""
        found = _scores(answers)
        check_count(labels, len(found))
        wanted = numbers(labels)
        return {"Spearman correlation": lambda chosen: spearman(found[chosen], wanted[chosen])}


LOSS: Kind = Ranking()


def _scores(answers: Answers) -> Array:
    return np.array([row.item() for row in answers.rows(LOGITS)])


def _orders(scores: Array) -> Array:
    """Returns for each pair whether the first scores higher (1), lower (-1), or the same (0)."""
    return np.asarray(np.sign(scores[:, np.newaxis] - scores))


def _activated(scores: Array, answers: Answers) -> Array:
    return ACTIVATIONS[answers.purpose.options.get("activation", "sigmoid")](scores)
