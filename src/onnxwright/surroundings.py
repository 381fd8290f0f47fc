"""What a module's own code keeps outside of it: variables that its functions close over, and globals that they name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import CellType, FunctionType, MethodType
from typing import Any, NamedTuple

from torch import Tensor, nn

_LIBRARIES = ("torch", "transformers", "numpy", "builtins", "onnxwright")
_EMPTY = object()


class Variable(NamedTuple):
    """A place outside of a module that its code reads or writes."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


def variables_of(module: nn.Module) -> list[Variable]:
    """Finds the variables around a module: those of its classes' and attributes' functions, and of what they call."""
    found: dict[tuple[int, str], Variable] = {}
    waiting = list(_own_functions(module))
    seen: set[int] = set()
    while waiting:
        function = waiting.pop()
        if id(function) in seen or _is_library(function.__module__):
            continue
        seen.add(id(function))
        for key, variable in _around(function):
            value = variable.read()
            if isinstance(value, FunctionType | MethodType | functools.partial):
                waiting += _plain(value)
            elif isinstance(value, int | float | str | dict | list | set | Tensor | None) or value is _EMPTY:
                found.setdefault(key, variable)
    return list(found.values())


def _own_functions(module: nn.Module) -> Iterator[FunctionType]:
    for part in module.modules():
        for kind in type(part).__mro__:
            if not _is_library(kind.__module__):
                for value in vars(kind).values():
                    yield from _plain(value)
        for value in list(part.__dict__.values()):
            yield from _plain(value)


def _plain(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, staticmethod | classmethod | MethodType):
        value = value.__func__
    if isinstance(value, functools.partial):
        value = value.func
    if isinstance(value, property) and value.fget is not None:
        value = value.fget
    if isinstance(value, FunctionType):
        yield value


def _around(function: FunctionType) -> Iterator[tuple[tuple[int, str], Variable]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield (id(cell), name), Variable(name, _cell_reader(cell), functools.partial(setattr, cell, "cell_contents"))
    space = function.__globals__
    for name in function.__code__.co_names:
        if name in space:
            yield (id(space), name), Variable(name, functools.partial(space.get, name), _setter(space, name))


def _cell_reader(cell: CellType) -> Callable[[], Any]:
    def read() -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # a variable that isn't bound yet
            return _EMPTY

    return read


def _setter(space: dict[str, Any], name: str) -> Callable[[Any], None]:
    return functools.partial(space.__setitem__, name)


def _is_library(name: str | None) -> bool:
    return name is not None and name.partition(".")[0] in _LIBRARIES
