"""What a long run says while it works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Progress(Protocol):
    """Listens to a run: stages begin and end, and there are things to note."""

    def stage(self, title: str) -> contextlib.AbstractContextManager[None]:
        """Enters a stage; leaving the context ends it."""

    def note(self, text: str) -> None:
        """Says one line about the stage under way."""


class Silence:
    """Says nothing."""

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[None]:  # noqa: ARG002 - the protocol's
        """Enters a stage."""
        yield

    def note(self, text: str) -> None:
        """Says nothing."""
