"""Token classification: stretches of a text get a label, as in named entity recognition."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxwright.backends import Array, Tensors
from onnxwright.tasks import LOGITS, Task, labels
from onnxwright.tasks.activations import softmax
from onnxwright.text import Cut, Encoding

_OUTSIDE: Final = "O"


class TokenClassification:
    """A head that labels each token; neighbours of one label are put together."""

    name = "token-classification"
    auto_class = "AutoModelForTokenClassification"
    hub_tag = "token-classification"
    is_pair = False
    is_pair_allowed = False
    cut: Cut = "longest_first"

    def fits(self, architecture: str, config: Mapping[str, Any]) -> bool:
        """Whether it has a token classification head."""
        return architecture.endswith("ForTokenClassification")

    def outputs(self) -> tuple[str, ...]:
        """Returns the name of the logits."""
        return (LOGITS,)

    def options(self, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Returns the labels."""
        return {"labels": labels(config)}

    def answer(self, outputs: Tensors, encodings: Sequence[Encoding], options: Mapping[str, Any]) -> list[Any]:
        """Returns `[{"entity_group", "score", "word", "start", "end"}, …]` for each text.

        This is the strategy `simple` of the `transformers` pipeline: each token has its likeliest label, tokens of
        one kind in a row form a group unless the next begins with `B-`, and groups outside of every kind are left
        out. The score is the mean over the group, `start` and `end` are places in the text.
        """
        names = options["labels"]
        logits = outputs[LOGITS]
        return [
            [_entity(group, encoding) for group in _groups(logits[row], encoding, names) if group[0].kind != _OUTSIDE]
            for row, encoding in enumerate(encodings)
        ]


TASK: Task = TokenClassification()


@dataclass(frozen=True)
class _Labelled:
    token: int
    score: float
    kind: str
    is_beginning: bool


def _groups(logits: Array, encoding: Encoding, names: Sequence[str]) -> Iterator[list[_Labelled]]:
    group: list[_Labelled] = []
    for labelled in _labelled(logits, encoding, names):
        if group and (labelled.is_beginning or labelled.kind != group[0].kind):
            yield group
            group = []
        group.append(labelled)
    if group:
        yield group


def _labelled(logits: Array, encoding: Encoding, names: Sequence[str]) -> Iterator[_Labelled]:
    scores = softmax(logits)
    best = scores.argmax(axis=-1)
    for token, is_special in enumerate(encoding.special_tokens_mask):
        if not is_special:
            name = names[best[token]]
            is_tagged = name.startswith(("B-", "I-"))
            kind = name[2:] if is_tagged else name
            yield _Labelled(token, scores[token, best[token]], kind, is_beginning=name.startswith("B-"))


def _entity(group: Sequence[_Labelled], encoding: Encoding) -> dict[str, Any]:
    return {
        "entity_group": group[0].kind.split("-", 1)[-1],
        "score": float(np.mean([labelled.score for labelled in group])),
        "word": encoding.spell([labelled.token for labelled in group]),
        "start": encoding.offsets[group[0].token][0],
        "end": encoding.offsets[group[-1].token][1],
    }
