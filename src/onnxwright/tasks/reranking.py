"""Reranking: how well a passage answers a query, as one score for the pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from onnxwright.backends import Tensors
from onnxwright.errors import SourceError, accepted
from onnxwright.settings import read_settings
from onnxwright.tasks import LOGITS, Task, labels
from onnxwright.tasks.activations import ACTIVATIONS
from onnxwright.text import Cut, Encoding

HEAD: Final = "ForSequenceClassification"
"""How architectures with a head over the whole sequence end."""
_OLD_KEY: Final = "sbert_ce_default_activation_function"


class Reranking:
    """A cross-encoder: a sequence classification head with one label, over a pair of texts."""

    name = "reranking"
    auto_class = "AutoModelForSequenceClassification"
    hub_tag = "text-ranking"
    is_pair = True
    is_pair_allowed = True
    cut: Cut = "longest_first"

    def fits(self, architecture: str, config: Mapping[str, Any]) -> bool:
        """Whether it is a sequence classification head with one label that is no regression."""
        return architecture.endswith(HEAD) and is_reranker(config)

    def outputs(self) -> tuple[str, ...]:
        """Returns the name of the logits."""
        return (LOGITS,)

    def options(self, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Returns how the logit becomes a score: as sentence-transformers saved it, else by a sigmoid."""
        if len(labels(config)) != 1:
            raise SourceError(
                f"reranking: expected a head with one label, got {len(labels(config))}. Use `--task classification`."
            )
        saved = _saved_activation(config, folder)
        name = saved.rpartition(".")[2].lower() if saved else "sigmoid"
        if name not in ACTIVATIONS:
            expected = accepted(name, ACTIVATIONS)
            raise SourceError(
                f"activation '{saved}' of the cross-encoder is unknown; expected {expected}. "
                "Use `--task classification` for its plain scores."
            )
        return {"activation": name}

    def answer(self, outputs: Tensors, encodings: Sequence[Encoding], options: Mapping[str, Any]) -> list[Any]:
        """Returns `{"score"}` for each pair."""
        scores = ACTIVATIONS[options["activation"]](outputs[LOGITS][: len(encodings)])
        return [{"score": score} for (score,) in scores.tolist()]


TASK: Task = Reranking()


def is_reranker(config: Mapping[str, Any]) -> bool:
    """Whether a sequence classification head scores pairs: it has one label, and was no regression in training."""
    is_cross_encoder = "sentence_transformers" in config or _OLD_KEY in config
    return len(labels(config)) == 1 and (is_cross_encoder or config.get("problem_type") != "regression")


def _saved_activation(config: Mapping[str, Any], folder: Path) -> str | None:
    """Returns the class of the activation, from the places where versions of sentence-transformers keep it."""
    saved = read_settings(folder / "config_sentence_transformers.json")
    nested = config.get("sentence_transformers") or {}
    return nested.get("activation_fn") or config.get(_OLD_KEY) or saved.get("activation_fn")
