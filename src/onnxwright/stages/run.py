"""Runs a package on many texts, a block at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from onnxwright.errors import UsageError
from onnxwright.pipelines import Answer, Given, pipeline

_BLOCK: Final = 1024
"""Texts of one block are sorted by length together, and are in memory together."""
_JSON_LINES: Final = (".jsonl", ".ndjson")


def run(
    folder: str | Path, texts: Iterable[Given], *, engine: str = "auto", batch_size: int | None = None
) -> Iterator[Answer]:
    """Opens a package and yields an answer for each text, in order.

    Raises:
        UsageError: when the folder is no package for texts, or a text is not what its task takes.
    """
    answering = pipeline(folder, engine=engine, batch_size=batch_size)

    def answers() -> Iterator[Answer]:
        waiting = iter(texts)
        while block := list(islice(waiting, _BLOCK)):
            yield from answering.answer(block)

    return answers()


def read_texts(file: Path) -> Iterator[Given]:
    """Yields the texts of a file: one a line, or, from a `.jsonl`, a string, a pair or a mapping a line.

    Raises:
        UsageError: when the file is missing, is not UTF-8, or has a line that is not JSON.
    """
    if not file.is_file():
        raise UsageError(f"file '{file}': no such file. Give a text file, one text a line, or a .jsonl with pairs.")
    is_json = file.suffix.lower() in _JSON_LINES

    def lines() -> Iterator[Given]:
        with file.open(encoding="utf-8", newline="\n") as stream:
            try:
                for number, line in enumerate(stream, start=1):
                    text = line.rstrip("\r\n")
                    if not is_json or text.strip():
                        yield _parse(text, file, number) if is_json else text
            except UnicodeDecodeError as reason:
                raise UsageError(f"file '{file}' is not UTF-8 text: {reason}. Convert it first.") from reason

    return lines()


def _parse(line: str, file: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as reason:
        raise UsageError(
            f"file '{file}', line {number}: not JSON: {reason}. "
            'Write a string, ["first", "second"] or {"query": …, "passage": …} a line.'
        ) from reason
