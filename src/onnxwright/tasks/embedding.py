"""Embedding: a text becomes one vector."""

# ruff: noqa: ARG002 - the arguments are those of the protocol

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from onnxwright.backends import Tensors
from onnxwright.errors import UsageError
from onnxwright.settings import read_json, read_settings
from onnxwright.tasks import Task
from onnxwright.text import Cut, Encoding

HIDDEN_STATES: Final = "last_hidden_state"
SENTENCE_EMBEDDING: Final = "sentence_embedding"
"""The pooled (and, where the model says so, normalized) vector that the graph computes from the token vectors."""

_HEADS = ("For", "LMHead", "DoubleHeads", "Decoder")


class Embedding:
    """The base model without a head, pooled as sentence-transformers does."""

    name = "embedding"
    auto_class = "AutoModel"
    hub_tag = "sentence-similarity"
    is_pair = False
    is_pair_allowed = False
    cut: Cut = "longest_first"

    def fits(self, architecture: str, config: Mapping[str, Any]) -> bool:
        """Whether it is a base model (`…Model`) of text that has an encoder only."""
        is_headless = architecture.endswith("Model") and not any(head in architecture for head in _HEADS)
        is_encoder = architecture.endswith("EncoderModel") or not config.get("is_encoder_decoder", False)
        return is_headless and is_encoder and "vocab_size" in config

    def outputs(self) -> tuple[str, ...]:
        """Returns the names of the token vectors and of the pooled sentence vector."""
        return (HIDDEN_STATES, SENTENCE_EMBEDDING)

    def options(self, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Returns how sentence-transformers encodes texts for this model: greatest length, prompt, case."""
        module = _first_module(folder)
        encoding = read_settings(folder / module / "sentence_bert_config.json")
        saved = read_settings(folder / "config_sentence_transformers.json")
        prompt = (saved.get("prompts") or {}).get(saved.get("default_prompt_name"))
        options = {"max_length": encoding.get("max_seq_length"), "prompt": prompt}
        if encoding.get("do_lower_case"):
            options["is_lowercase"] = True
        return {name: value for name, value in options.items() if value}

    def answer(self, outputs: Tensors, encodings: Sequence[Encoding], options: Mapping[str, Any]) -> list[Any]:
        """Returns the sentence vector of each text as a list of numbers."""
        if SENTENCE_EMBEDDING not in outputs:
            raise UsageError(
                f"outputs: expected '{SENTENCE_EMBEDDING}', got {', '.join(outputs)}. "
                "Convert with `--task embedding`, which adds it to the graph."
            )
        vectors: list[Any] = outputs[SENTENCE_EMBEDDING][: len(encodings)].tolist()
        return vectors


TASK: Task = Embedding()


def _first_module(folder: Path) -> str:
    modules = read_json(folder / "modules.json")
    return str(modules[0].get("path", "")) if modules else ""
