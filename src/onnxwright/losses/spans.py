"""Question answering: answers should stay the same stretch of the context."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwright.backends import Array
from onnxwright.errors import UsageError
from onnxwright.estimates import Statistic, mean_of, wilson
from onnxwright.losses import Answers, Estimate, Given, Kind, Purpose, check_count
from onnxwright.tasks import SEGMENT, task
from onnxwright.text import Encoding

Span = tuple[int, int]
"""The first and the last token of an answer, counted without padding."""

_TASK = "question-answering"


class Spans:
    """The share of samples whose likeliest span is another: the one that the sum of both logits favours."""

    name = "spans"
    told = "the share of answers that are another span than the reference's"
    budget = 0.01
    serves = "question answering"
    labelled = "exact match; an answer, a list of answers, or `text` and `answer_start`"
    is_general = False

    def fits(self, purpose: Purpose) -> bool:
        """Whether the task is question answering."""
        return purpose.task == _TASK and set(_outputs()) <= set(purpose.signature.output_names)

    def estimate(self, expected: Answers, answered: Answers) -> Estimate:
        """Counts changed spans, and how many tokens they share."""
        pairs = list(zip(_spans(expected), _spans(answered), strict=True))
        changed = np.array([right != found for right, found in pairs])
        overlaps = [_overlap(right, found) for right, found in pairs]
        return Estimate(
            loss=float(changed.mean()),
            interval=wilson(int(changed.sum()), len(changed)),
            parts={"token F1": float(np.mean(overlaps))},
        )

    def aligned(self, given: Given, encoding: Encoding, purpose: Purpose) -> Any:
        """Returns the spans of tokens that hold one of the right answers.

        A label is an answer, several of them, or `{"text": […], "answer_start": […]}`; without places, an answer is
        right wherever it stands in the context.
        """
        context = encoding.texts[-1]
        return [
            (tokens[0], tokens[-1])
            for start, end in _stretches(given.label, context)
            if (tokens := _tokens(encoding, start, end))
        ]

    def scores(self, answers: Answers, labels: Sequence[Any]) -> Mapping[str, Statistic]:
        """Returns exact match and F1 of tokens; a label is the list of spans of which each is right."""
        found = list(_spans(answers))
        check_count(labels, len(found))
        wanted = [[(int(first), int(last)) for first, last in spans] for spans in labels]
        pairs = list(zip(found, wanted, strict=True))
        exact = np.array([span in spans for span, spans in pairs], np.float64)
        shared = np.array([max((_overlap(span, one) for one in spans), default=0.0) for span, spans in pairs])
        return {"exact match": mean_of(exact), "token F1": mean_of(shared)}


LOSS: Kind = Spans()


def _stretches(label: Any, context: str) -> Iterator[tuple[int, int]]:
    """Yields where the context holds each answer: the first place and the one after the last."""
    places: Sequence[int] | None = None
    if isinstance(label, Mapping):
        label, places = label.get("text"), label.get("answer_start")
    answers = [label] if isinstance(label, str) else label
    if not isinstance(answers, list) or not all(isinstance(answer, str) and answer for answer in answers):
        raise UsageError(f"label {label!r}: expected an answer that stands in the context, or a list of answers.")
    for number, answer in enumerate(answers):
        starts = [places[number]] if places else [found.start() for found in re.finditer(re.escape(answer), context)]
        if not starts or any(context[start : start + len(answer)] != answer for start in starts):
            raise UsageError(f"label {answer!r}: doesn't stand in its context '{context[:40]}…'. Correct one of them.")
        yield from ((start, start + len(answer)) for start in starts)


def _tokens(encoding: Encoding, start: int, end: int) -> list[int]:
    """Returns the tokens of a stretch of the context; none where it was cut off."""
    columns = zip(encoding.offsets, encoding.sequence_ids, strict=True)
    return [token for token, ((first, last), text) in enumerate(columns) if text == 1 and first < end and last > start]


def _outputs() -> tuple[str, str]:
    start, end = task(_TASK).outputs()
    return start, end


def _spans(answers: Answers) -> Iterator[Span]:
    """Yields the likeliest span of each row: within the second text, where token types say which that is."""
    start, end = _outputs()
    starts, ends = list(answers.places(start)), list(answers.places(end))
    contexts = [np.zeros(len(row), bool) for row in starts]
    for context, places in zip(contexts, answers.read(), strict=False):
        context[places] = True
    if SEGMENT in answers.purpose.signature.input_names:
        contexts = [context & (types == 1) for context, types in zip(contexts, answers.fed(SEGMENT), strict=True)]
    longest = answers.purpose.options.get("max_answer_tokens", max(map(len, starts)))
    for first, last, context in zip(starts, ends, contexts, strict=True):
        yield _likeliest(first, last, context, longest)


def _likeliest(starts: Array, ends: Array, context: Array, longest: int) -> Span:
    considered = context if context.any() else np.ones(len(starts), bool)
    length = len(starts)
    is_span = np.tril(np.triu(np.ones((length, length), bool)), longest - 1) & np.outer(considered, considered)
    scores = np.where(is_span, starts[:, np.newaxis] + ends, -np.inf)
    first, last = np.unravel_index(scores.argmax(), scores.shape)
    return int(first), int(last)


def _overlap(one: Span, other: Span) -> float:
    """Returns the F1 of the tokens of two spans."""
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]) + 1)
    return 2.0 * shared / (one[1] - one[0] + other[1] - other[0] + 2)
