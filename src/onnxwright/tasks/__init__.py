"""What a model is for: one task a file, each offering `TASK`. Only this package writes a tensor's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

from onnxwright.backends import Tensors
from onnxwright.discovery import offered
from onnxwright.errors import SourceError, accepted
from onnxwright.text import Cut, Encoding

INPUT_DIMS: Mapping[str, tuple[str, ...]] = {
    "input_ids": ("batch", "sequence"),
    "attention_mask": ("batch", "sequence"),
    "token_type_ids": ("batch", "sequence"),
    "position_ids": ("batch", "sequence"),
}
"""The named dims of the inputs that Hugging Face text models share."""


IDS: Final = "input_ids"
"""The input that holds the tokens of a text."""

MASK: Final = "attention_mask"
"""The input without which a padded row has another answer."""

SEGMENT: Final = "token_type_ids"
"""The input that tells of which text of a pair each token is."""

ENCODED: Mapping[str, str] = {
    IDS: "ids",
    MASK: "attention_mask",
    SEGMENT: "type_ids",
}
"""The inputs that a tokenizer fills, and the field of an `Encoding` that each takes."""


LOGITS: Final = "logits"
"""The output of every head that gives each label one number."""


class Task(Protocol):
    """A row of the table: which models it fits, what its graph answers, and what that means."""

    name: str
    auto_class: str
    """The transformers class that loads such a model, or "" when there is none."""
    hub_tag: str
    """The name by which the Hugging Face hub knows the task (`pipeline_tag`)."""
    is_pair: bool
    """Whether an answer is about two texts (a query and a passage, a question and a context)."""
    is_pair_allowed: bool
    """Whether an answer may be about two texts."""
    cut: Cut
    """Which text of a pair is cut when both are too long."""

    def fits(self, architecture: str, config: Mapping[str, Any]) -> bool:
        """Whether a model of this architecture (`config.architectures[0]`) is for this task."""

    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that the graph answers, in order."""

    def options(self, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Returns what the answers need of a model's config and folder, as plain JSON.

        `max_length`, `prompt` and `is_lowercase`, where present, say how texts are encoded.

        Raises:
            SourceError: when the config asks for something that this task doesn't know.
        """

    def answer(self, outputs: Tensors, encodings: Sequence[Encoding], options: Mapping[str, Any]) -> list[Any]:
        """Turns the outputs for one batch into one JSON-like answer a row."""


def tasks() -> dict[str, Task]:
    """Returns every task, by name."""
    return cast(dict[str, Task], offered(__name__, "TASK"))


def task(name: str) -> Task:
    """Returns the task of that name.

    Raises:
        SourceError: for an unknown task.
    """
    known = tasks()
    if name not in known:
        raise SourceError(f"task '{name}' is unknown; expected {accepted(name, known)}, or auto.")
    return known[name]


def labels(config: Mapping[str, Any]) -> list[str]:
    """Returns the label of each class, by its number; `LABEL_0`, `LABEL_1`, … where the config names none."""
    named = config.get("id2label") or {}
    if named:
        return [str(named[key]) for key in sorted(named, key=int)]
    return [f"LABEL_{number}" for number in range(config.get("num_labels", 2))]
