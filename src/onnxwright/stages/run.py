"""Runs a package on many texts, a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from onnxwright.pipelines import Answer, Given, pipeline

_BLOCK: Final = 1024
"""Texts of one block are sorted by length together, and are in memory together."""


def run(
    folder: str | Path,
    texts: Iterable[Given],
    *,
    engine: str = "auto",
    batch_size: int | None = None,
    allow_fallback: bool = False,
) -> Iterator[Answer]:
    """Opens a package and yields an answer for each text, in order.

    Raises:
        UsageError: when the folder is no package for texts, or a text is not what its task takes.
    """
    answering = pipeline(folder, engine=engine, batch_size=batch_size, allow_fallback=allow_fallback)

    def answers() -> Iterator[Answer]:
        waiting = iter(texts)
        while block := list(islice(waiting, _BLOCK)):
            yield from answering.answer(block)

    return answers()
