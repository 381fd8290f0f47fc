"""Embedding: vectors should point where the reference's point, and rank texts as it does."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxwright.backends import Array
from onnxwright.errors import UsageError
from onnxwright.estimates import Statistic, bootstrap, mean_of, spearman
from onnxwright.losses import Answers, Estimate, Given, Kind, Purpose, numbers
from onnxwright.tasks.embedding import HIDDEN_STATES, SENTENCE_EMBEDDING
from onnxwright.text import Encoding


class Embedding:
    """One minus the mean cosine; of a graph without a pooled vector, of the mean of its token vectors."""

    name = "embedding"
    told = "one minus the mean cosine of each vector with the reference's"
    budget = 1e-3
    serves = "models that make one vector of a text"
    labelled = "Spearman's correlation of cosines with scores, one for each pair of texts"
    is_general = False

    def fits(self, purpose: Purpose) -> bool:
        """Whether the task is embedding, and the graph answers its vectors."""
        return purpose.task == "embedding" and any(name in purpose.signature.output_names for name in _VECTORS)

    def estimate(self, expected: Answers, answered: Answers) -> Estimate:
        """Compares the vectors one by one, and how they lie to each other.

        The ranking is Spearman's correlation of the cosines of all pairs of samples; a neighbour is kept where the
        sample that lies nearest stays the same.
        """
        right, found = _vectors(expected), _vectors(answered)
        losses = _losses(right, found)
        return Estimate(
            loss=float(losses.mean()),
            interval=bootstrap(mean_of(losses), len(losses)),
            parts={"least cosine": 1.0 - float(losses.max()), **_ranking(right, found), **_tokens(expected, answered)},
        )

    def aligned(self, given: Given, encoding: Encoding, purpose: Purpose) -> Any:
        """Returns the label as it is."""
        return given.label

    def scores(self, answers: Answers, labels: Sequence[Any]) -> Mapping[str, Statistic]:
        """Returns Spearman's correlation of the cosines of pairs with their labels; two samples in a row are a pair."""
        vectors = _vectors(answers)
        if len(vectors) != 2 * len(labels):
            raise UsageError(
                f"labels: expected one for each pair of texts, got {len(labels)} for {len(vectors)} texts. "
                'Give {"text": …, "text_pair": …, "label": …} a line.'
            )
        cosines = (vectors[0::2] * vectors[1::2]).sum(axis=-1)
        wanted = numbers(labels)
        return {"Spearman correlation": lambda chosen: spearman(cosines[chosen], wanted[chosen])}


LOSS: Kind = Embedding()

_VECTORS = (SENTENCE_EMBEDDING, HIDDEN_STATES)


def _vectors(answers: Answers) -> Array:
    """Returns a vector of length 1 for each row; one of zeros stays as it is."""
    names = answers.purpose.signature.output_names
    if SENTENCE_EMBEDDING in names:
        vectors = np.stack(list(answers.rows(SENTENCE_EMBEDDING)))
    else:
        vectors = np.stack([states.mean(axis=0) for states in answers.places(HIDDEN_STATES)])
    return _directions(vectors)


def _directions(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def _losses(right: Array, found: Array) -> Array:
    """Returns one minus the cosine of each pair of directions; 0 where they are equal to the last digit."""
    losses = np.maximum(1.0 - (right * found).sum(axis=-1), 0.0)
    return np.asarray(np.where((right == found).all(axis=-1), 0.0, losses))


def _tokens(expected: Answers, answered: Answers) -> dict[str, float]:
    """Compares the vectors of tokens, where the graph answers them beside the pooled one."""
    if not {HIDDEN_STATES, SENTENCE_EMBEDDING} <= set(expected.purpose.signature.output_names):
        return {}
    pairs = zip(expected.places(HIDDEN_STATES), answered.places(HIDDEN_STATES), strict=True)
    losses = [_losses(_directions(right), _directions(found)) for right, found in pairs]
    return {"mean cosine of tokens": 1.0 - float(np.concatenate(losses).mean())}


def _ranking(right: Array, found: Array) -> dict[str, float]:
    """Compares which vectors lie near each other: with fewer than three of them there is nothing to rank."""
    if len(right) < 3:
        return {}
    one, other = right @ right.T, found @ found.T
    pairs = np.triu_indices(len(right), k=1)
    for cosines in (one, other):
        np.fill_diagonal(cosines, -np.inf)
    kept = one.argmax(axis=-1) == other.argmax(axis=-1)
    return {"ranking": spearman(one[pairs], other[pairs]), "nearest neighbours kept": float(kept.mean())}
