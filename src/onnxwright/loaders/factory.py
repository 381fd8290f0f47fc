"""A callable in a Python file that returns `module, example_inputs` or `module, example_inputs, dims`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from onnxwright.errors import OnnxwrightError, SourceError, accepted
from onnxwright.loaders import module as modules
from onnxwright.reads import user_line_of
from onnxwright.source import Source


def load(source: str, ranges: Mapping[str, tuple[int, int, int]]) -> Source:
    """Calls the factory `path/to/file.py:name` and loads what it returns.

    Raises:
        SourceError: when the file or the callable is missing, raises, or returns something else.
    """
    path, _, name = source.rpartition(":")
    file = Path(path)
    made = _call(_find(file, name), source)
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise SourceError(
            f"factory '{source}': expected it to return (module, example_inputs) or (module, example_inputs, dims), "
            f"got {_described(made)}."
        )
    return modules.load(*made, ranges=ranges, name=f"{file.name}:{name}")


def _find(file: Path, name: str) -> Callable[[], Any]:
    if not file.is_file():
        raise SourceError(f"factory '{file}:{name}': no such file. Give path/to/file.py:function.")
    loaded = _imported(file)
    found = getattr(loaded, name, None)
    if not callable(found):
        offered = [key for key, value in vars(loaded).items() if callable(value) and not key.startswith("_")]
        raise SourceError(f"factory '{name}': '{file.name}' has no such callable; expected {accepted(name, offered)}.")
    return found  # type: ignore[no-any-return]  # what a user's file holds is only known when it runs


def _imported(file: Path) -> Any:
    specification = importlib.util.spec_from_file_location(file.stem, file)
    assert specification is not None and specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    # `inspect` and `torch.jit.script` look a class's module up here; neighbours are imported from its folder.
    sys.modules[file.stem] = loaded
    sys.path.insert(0, str(file.resolve().parent))
    try:
        specification.loader.exec_module(loaded)
    except Exception as problem:  # a user's file may raise anything
        raise SourceError(f"'{file.name}' can't be imported: {_told(problem)}") from problem
    return loaded


def _call(factory: Callable[[], Any], source: str) -> Any:
    try:
        return factory()
    except OnnxwrightError:
        raise
    except Exception as problem:  # a user's factory may raise anything
        raise SourceError(f"factory '{source}' raised {_told(problem)}") from problem


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__} at {user_line_of(problem)}: {problem}"


def _described(made: object) -> str:
    return f"a tuple of {len(made)}" if isinstance(made, tuple) else f"a {type(made).__name__}"
