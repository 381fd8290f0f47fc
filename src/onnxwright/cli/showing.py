"""What commands print: stages on stderr while they work, then text or one JSON document."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


class Stages:
    """Writes on stderr what is done and how long it took; a spinner where a person is watching."""

    def __init__(self) -> None:
        from rich.console import Console

        # Bound to the stream of now: exporters are silenced by replacing `sys.stderr` for a while.
        self._console: Console = Console(file=sys.stderr)

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Shows a stage while it lasts."""
        begun = time.monotonic()
        with self._console.status(f"{title} …"):
            yield
        self._console.print(f"{title}: {time.monotonic() - begun:.1f} s", highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Prints one line."""
        self._console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)


def show(text: str, document: Any, *, as_json: bool) -> None:
    """Prints a text, or a document in its place."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else text)


def builtins_of(value: Any) -> Any:
    """Returns a value as JSON has it."""
    import msgspec

    return msgspec.to_builtins(value)
