"""Classification: texts should keep their labels."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxwright.backends import Array
from onnxwright.errors import UsageError, accepted
from onnxwright.estimates import Statistic, mean_of, wilson
from onnxwright.losses import Answers, Estimate, Given, Kind, Purpose, check_count
from onnxwright.tasks import LOGITS
from onnxwright.tasks.activations import ACTIVATIONS
from onnxwright.text import Encoding


class Labels:
    """The share of samples with another label: the likeliest, or where labels don't exclude each other, all of them."""

    name = "labels"
    told = "the share of samples that get another label than from the reference"
    budget = 0.01
    serves = "classification that is no regression"
    labelled = "accuracy; a label is a name or a number, a list where labels don't exclude each other"
    is_general = False

    def fits(self, purpose: Purpose) -> bool:
        """Whether the task is classification and no regression."""
        is_regression = purpose.options.get("activation") == "identity"
        return purpose.task == "classification" and LOGITS in purpose.signature.output_names and not is_regression

    def estimate(self, expected: Answers, answered: Answers) -> Estimate:
        """Counts changed labels; the shift is the mean total variation distance between the labels' probabilities."""
        right, found = _probabilities(expected), _probabilities(answered)
        is_changed = (_chosen(right, expected) != _chosen(found, answered)).any(axis=-1)
        shifts = np.abs(right - found)
        distances = shifts.mean(axis=-1) if _is_multiple(expected) else shifts.sum(axis=-1) / 2.0
        return Estimate(
            loss=float(is_changed.mean()),
            interval=wilson(int(is_changed.sum()), len(is_changed)),
            parts={"mean probability shift": float(distances.mean()), "largest probability shift": distances.max()},
        )

    def aligned(self, given: Given, encoding: Encoding, purpose: Purpose) -> Any:
        """Returns the label as it is."""
        return given.label

    def scores(self, answers: Answers, labels: Sequence[Any]) -> Mapping[str, Statistic]:
        """Returns the accuracy; a label is a name or a number, or a list of them where labels don't exclude others."""
        found = _chosen(_probabilities(answers), answers)
        check_count(labels, len(found))
        wanted = _wanted(labels, answers)
        return {"accuracy": mean_of((found == wanted).all(axis=-1).astype(np.float64))}


LOSS: Kind = Labels()


def number_of(label: Any, names: Sequence[str]) -> int:
    """Returns the number of a label that is given by its name or by its number.

    Raises:
        UsageError: when the model has no such label.
    """
    if str(label) in names:
        return names.index(str(label))
    is_number = isinstance(label, int) or (isinstance(label, str) and label.strip().isdecimal())
    if is_number and not isinstance(label, bool) and 0 <= int(label) < len(names):
        return int(label)
    raise UsageError(
        f"label {label!r}: the model has none of that name; expected {accepted(str(label), names)}, or a number "
        f"from 0 to {len(names) - 1}."
    )


def names_of(purpose: Purpose, count: int) -> Sequence[str]:
    """Returns the names of a model's labels; their numbers where it has none."""
    return purpose.options.get("labels") or [str(number) for number in range(count)]


def _is_multiple(answers: Answers) -> bool:
    return answers.purpose.options.get("activation") == "sigmoid"


def _probabilities(answers: Answers) -> Array:
    logits = np.stack(list(answers.rows(LOGITS)))
    return ACTIVATIONS["sigmoid" if _is_multiple(answers) else "softmax"](logits)


def _chosen(probabilities: Array, answers: Answers) -> Array:
    """Returns the number of each sample's label, or for each label whether it has it; the last axis is of both."""
    return probabilities > 0.5 if _is_multiple(answers) else probabilities.argmax(axis=-1)[:, np.newaxis]


def _wanted(labels: Sequence[Any], answers: Answers) -> Array:
    count = len(next(answers.rows(LOGITS)))
    names = names_of(answers.purpose, count)
    if not _is_multiple(answers):
        return np.array([[number_of(label, names)] for label in labels])
    wanted = np.zeros((len(labels), count), bool)
    for row, given in zip(wanted, labels, strict=True):
        for label in given if isinstance(given, (list, tuple)) else [given]:
            row[number_of(label, names)] = True
    return wanted
