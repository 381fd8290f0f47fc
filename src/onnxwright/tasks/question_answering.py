"""Question answering: the stretch of a context that answers a question."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxwright.backends import Array, Tensors
from onnxwright.tasks import Task
from onnxwright.tasks.activations import softmax
from onnxwright.text import Cut, Encoding

_START: Final = "start_logits"
_END: Final = "end_logits"
_CONTEXT: Final = 1
_LONGEST: Final = 15


class QuestionAnswering:
    """A head that scores each token of the context as the first and as the last of the answer."""

    name = "question-answering"
    auto_class = "AutoModelForQuestionAnswering"
    hub_tag = "question-answering"
    is_pair = True
    is_pair_allowed = True
    cut: Cut = "only_second"

    def fits(self, architecture: str, config: Mapping[str, Any]) -> bool:
        """Whether it has a question answering head."""
        return architecture.endswith("ForQuestionAnswering")

    def outputs(self) -> tuple[str, ...]:
        """Returns the names of the logits for the first and the last token of the answer."""
        return (_START, _END)

    def options(self, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Returns how many tokens an answer has at most."""
        return {"max_answer_tokens": _LONGEST}

    def answer(self, outputs: Tensors, encodings: Sequence[Encoding], options: Mapping[str, Any]) -> list[Any]:
        """Returns `{"answer", "score", "start", "end"}` for each pair of a question and its context.

        The answer is the likeliest span of the context, widened to whole words; `start` and `end` are places in the
        context. A context without tokens has the empty answer, with score 0.
        """
        longest = options["max_answer_tokens"]
        return [
            _span(outputs[_START][row], outputs[_END][row], encoding, longest) for row, encoding in enumerate(encodings)
        ]


TASK: Task = QuestionAnswering()


def _span(starts: Array, ends: Array, encoding: Encoding, longest: int) -> dict[str, Any]:
    context = np.array([sequence == _CONTEXT for sequence in encoding.sequence_ids])
    if not context.any():
        return {"answer": "", "score": 0.0, "start": 0, "end": 0}
    scores = np.outer(_shares(starts, context, encoding), _shares(ends, context, encoding))
    scores = np.tril(np.triu(scores), longest - 1)
    first, last = np.unravel_index(scores.argmax(), scores.shape)
    start, end = _word(encoding, int(first))[0], _word(encoding, int(last))[1]
    return {
        "answer": encoding.texts[_CONTEXT][start:end],
        "score": float(scores[first, last]),
        "start": start,
        "end": end,
    }


def _shares(logits: Array, context: Array, encoding: Encoding) -> Array:
    """Returns how likely each token of the context is, the first token standing for "no answer here"."""
    considered = context.copy()
    considered[encoding.attention_mask.index(1)] = True
    shares = softmax(np.where(considered, logits, -np.inf))
    return np.where(context, shares, 0.0)


def _word(encoding: Encoding, token: int) -> tuple[int, int]:
    word = encoding.word_ids[token]
    same = [
        offset
        for offset, number, sequence in zip(encoding.offsets, encoding.word_ids, encoding.sequence_ids, strict=True)
        if sequence == _CONTEXT and number == word
    ]
    return same[0][0], same[-1][1]
