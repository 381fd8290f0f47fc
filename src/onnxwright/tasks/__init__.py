"""What a model is for: one task a file, each offering `TASK`. Only this package writes a tensor's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from onnxwright.discovery import offered
from onnxwright.errors import SourceError, accepted

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from onnxwright.text import Encoding

INPUT_DIMS: Mapping[str, tuple[str, ...]] = {
    "input_ids": ("batch", "sequence"),
    "attention_mask": ("batch", "sequence"),
    "token_type_ids": ("batch", "sequence"),
    "position_ids": ("batch", "sequence"),
}
"""The named dims of the inputs that Hugging Face text models share."""


class Task(Protocol):
    """A row of the table: which models it fits, what its graph answers, and what that means."""

    name: str
    auto_class: str
    """The transformers class that loads such a model, or "" when there is none."""
    is_pair: bool
    """Whether an answer is about two texts (a query and a passage, a question and a context)."""

    def fits(self, architecture: str, config: Mapping[str, Any]) -> bool:
        """Whether a model of this architecture (`config.architectures[0]`) is for this task."""

    def outputs(self) -> tuple[str, ...]:
        """Names of the model's own outputs that the graph answers, in order."""

    def answer(
        self, outputs: Mapping[str, np.ndarray[Any, Any]], encodings: Sequence[Encoding], options: Mapping[str, Any]
    ) -> list[Any]:
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
