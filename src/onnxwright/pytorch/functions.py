"""The functions of the user's code, found by their places in its files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FunctionType

from onnxwright import heap
from onnxwright.pytorch.lines import Line


def functions_at(places: Iterable[str]) -> dict[str, list[FunctionType]]:
    """The innermost functions of the user's that places `folder/file.py:12` stand in, wherever they are held."""
    wanted: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for place in places:
        file, _, number = place.rpartition(":")
        if number.isdigit():
            wanted[Path(file).name].append((int(number), place))
    found: defaultdict[str, list[FunctionType]] = defaultdict(list)
    functions = [one for one in heap.objects() if type(one) is FunctionType] if wanted else []
    paths = {one.__code__.co_filename for one in functions}
    files = {path: wanted[name] for path in paths if (name := path.rpartition(os.sep)[2]) in wanted}
    for one in functions:  # all that there are
        path = one.__code__.co_filename
        if path not in files or one.__name__ == "<lambda>":
            continue
        for at, place in files[path]:
            line = Line(path, at)
            if _spans(one.__code__, at) and str(line) == place and line.is_users:
                found[place].append(one)
    innermost = {place: max(one.__code__.co_firstlineno for one in several) for place, several in found.items()}
    return {
        place: [one for one in several if one.__code__.co_firstlineno == innermost[place]]
        for place, several in found.items()
    }


def _spans(code: CodeType, number: int) -> bool:
    lines = [line for _, _, line in code.co_lines() if line is not None]
    return bool(lines) and code.co_firstlineno <= number <= max(lines)
