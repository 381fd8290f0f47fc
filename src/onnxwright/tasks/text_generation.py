"""Text generation: how likely each token of the vocabulary is to come next, without a cache of what was read."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxwright.backends import Tensors
from onnxwright.tasks import LOGITS, Task
from onnxwright.tasks.activations import softmax
from onnxwright.text import Cut, Encoding

_LIKELIEST: Final = 5


class TextGeneration:
    """A language model that reads a whole text at once."""

    name = "text-generation"
    auto_class = "AutoModelForCausalLM"
    hub_tag = "text-generation"
    is_pair = False
    is_pair_allowed = False
    cut: Cut = "longest_first"

    def fits(self, architecture: str, config: Mapping[str, Any]) -> bool:
        """Whether it has a head that tells the next token, and reads no second text."""
        return architecture.endswith(("ForCausalLM", "LMHeadModel")) and not config.get("is_encoder_decoder", False)

    def outputs(self) -> tuple[str, ...]:
        """Returns the name of the logits."""
        return (LOGITS,)

    def options(self, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Returns nothing: the answers need no more than the tokenizer."""
        return {}

    def answer(self, outputs: Tensors, encodings: Sequence[Encoding], options: Mapping[str, Any]) -> list[Any]:
        """Returns `[{"token_id", "score"}, …]` for each text: the likeliest tokens to come next, the first most so."""
        return [_next(outputs[LOGITS][row], encoding) for row, encoding in enumerate(encodings)]


TASK: Task = TextGeneration()


def _next(logits: np.ndarray[Any, np.dtype[Any]], encoding: Encoding) -> list[dict[str, Any]]:
    last = max(place for place, is_read in enumerate(encoding.attention_mask) if is_read)
    scores = softmax(logits[last])
    best = np.argsort(-scores, kind="stable")[:_LIKELIEST]
    return [{"token_id": int(token), "score": float(scores[token])} for token in best]
