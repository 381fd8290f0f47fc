"""Lines of a source file, to be shown where they are spoken of."""

from __future__ import annotations

import linecache
from pathlib import Path


def excerpt(file: Path, line: int, around: int = 1) -> tuple[str, ...]:
    """Returns a line of a file with those `around` it, each led by its number, the line itself by `>` as well.

    Lines are indented as they are to each other. Returns nothing where there is no such file, or no such line in it:
    code may come from an archive, a notebook or a string.
    """
    lines = [text.rstrip().expandtabs(4) for text in linecache.getlines(str(file))]
    if not 1 <= line <= len(lines):
        return ()
    shown = range(max(1, line - around), min(len(lines), line + around) + 1)
    margin = min((_indent(lines[number - 1]) for number in shown if lines[number - 1]), default=0)
    width = len(str(shown[-1]))
    return tuple(
        f"{'>' if number == line else ' '} {number:{width}}  {lines[number - 1][margin:]}".rstrip() for number in shown
    )


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())
