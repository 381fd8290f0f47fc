"""A callable in a Python file that returns `module, example_inputs` or `module, example_inputs, dims`."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from onnxwright.errors import OnnxwrightError, SourceError, accepted
from onnxwright.loaders import module as modules
from onnxwright.pytorch.lines import user_line_of
from onnxwright.source import Source


def load(source: Path, ranges: Mapping[str, tuple[int, int, int]]) -> Source:
    """Calls the factory `path/to/file.py:name` and loads what it returns.

    Raises:
        SourceError: when the file or the callable is missing, raises, or returns something else.
    """
    path, colon, name = str(source).rpartition(":")
    if not colon or not path.endswith(".py"):
        path, name = str(source), ""
    file = Path(path)
    made = _called(_find(file, name), source)
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise SourceError(
            f"factory '{source}': expected it to return (module, example_inputs) or (module, example_inputs, dims), "
            f"got {_described(made)}."
        )
    module, example_inputs, dims = (*made, None)[:3]
    return modules.load(module, example_inputs, dims, ranges, name=f"{file.name}:{name}")


def _find(file: Path, name: str) -> Callable[[], Any]:
    if not file.is_file():
        raise SourceError(f"factory '{file}:{name}': no such file. Give path/to/file.py:factory.")
    loaded = _imported(file)
    found: Callable[[], Any] | None = getattr(loaded, name, None) if name else None
    if found is None or not callable(found):
        raise SourceError(f"factory '{name}': '{file.name}' has no such callable; {_offered(loaded, name)}")
    try:
        inspect.signature(found).bind()
    except TypeError as problem:
        raise SourceError(f"factory '{name}' is called without arguments: {problem}. Give them defaults.") from problem
    return found


def _offered(loaded: Any, name: str) -> str:
    offered = [
        key
        for key, value in vars(loaded).items()
        if callable(value) and not key.startswith("_") and getattr(value, "__module__", None) == loaded.__name__
    ]
    return f"expected {accepted(name, offered)}." if offered else "it defines none. Give path/to/file.py:factory."


def _imported(file: Path) -> Any:
    # A name of its own, so that a file called like a library doesn't take its place.
    name = "factory_" + re.sub(r"\W", "_", file.stem)
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    # `inspect` and `torch.jit.script` look a class's module up here; neighbours are imported from its folder.
    sys.modules[loaded.__name__] = loaded
    sys.path.insert(0, str(file.resolve().parent))
    keeps_compiled, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the user's folder stays as it is
    try:
        specification.loader.exec_module(loaded)
    except SyntaxError as problem:
        place = f"{Path(problem.filename or file).name}:{problem.lineno}"
        raise SourceError(f"'{file.name}' is not valid Python: {problem.msg} at {place}.") from problem
    except (Exception, SystemExit) as problem:  # a user's file may raise anything
        raise SourceError(f"'{file.name}' can't be imported: {_told(problem)}. Mend the file.") from problem
    finally:
        sys.dont_write_bytecode = keeps_compiled
    return loaded


def _called(factory: Callable[[], Any], source: Path) -> Any:
    try:
        return factory()
    except OnnxwrightError:
        raise
    except (Exception, SystemExit) as problem:  # a user's factory may raise anything
        raise SourceError(f"factory '{source}' raised {_told(problem)}. Mend the factory.") from problem


def _told(problem: BaseException) -> str:
    return f"{type(problem).__name__} at {user_line_of(problem)}: {problem}"


def _described(made: object) -> str:
    return f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
