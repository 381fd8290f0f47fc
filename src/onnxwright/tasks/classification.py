"""Classification: a text, or a pair of texts, gets a score for each label."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwright.backends import Tensors
from onnxwright.tasks import LOGITS, Task, labels
from onnxwright.tasks.activations import ACTIVATIONS
from onnxwright.tasks.reranking import HEAD, is_reranker
from onnxwright.text import Cut, Encoding


class Classification:
    """A sequence classification head with several labels, or one that is a regression."""

    name = "classification"
    auto_class = "AutoModelForSequenceClassification"
    hub_tag = "text-classification"
    is_pair = False
    is_pair_allowed = True
    cut: Cut = "longest_first"

    def fits(self, architecture: str, config: Mapping[str, Any]) -> bool:
        """Whether it has a sequence classification head that is no reranker's."""
        return architecture.endswith(HEAD) and not is_reranker(config)

    def outputs(self) -> tuple[str, ...]:
        """Returns the name of the logits."""
        return (LOGITS,)

    def options(self, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Returns the labels, and how logits become scores."""
        return {"labels": labels(config), "activation": _activation(config)}

    def answer(self, outputs: Tensors, encodings: Sequence[Encoding], options: Mapping[str, Any]) -> list[Any]:
        """Returns `[{"label", "score"}, …]` for each row, the highest score first."""
        scores = ACTIVATIONS[options["activation"]](outputs[LOGITS][: len(encodings)])
        return [_ranked(row.tolist(), options["labels"]) for row in scores]


TASK: Task = Classification()


def _activation(config: Mapping[str, Any]) -> str:
    problem = config.get("problem_type")
    if problem == "regression":
        return "identity"
    return "sigmoid" if problem == "multi_label_classification" or len(labels(config)) == 1 else "softmax"


def _ranked(scores: Sequence[float], names: Sequence[str]) -> list[dict[str, Any]]:
    rows = [{"label": name, "score": score} for name, score in zip(names, scores, strict=True)]
    return sorted(rows, key=lambda row: -row["score"])
