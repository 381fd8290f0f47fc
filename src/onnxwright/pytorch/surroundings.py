"""What a module's own code keeps outside of it.

Variables that its functions close over, globals that they name, defaults of their parameters; attributes of its
classes, of these functions and of plain objects; caches of functions; and the variables of the process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from torch import Tensor, nn

from onnxwright.environment import process_variables

_LIBRARIES = (
    "torch",
    "transformers",
    "numpy",
    "builtins",
    "onnxwright",
    "collections",
    "typing",
    "logging",
    "re",
    "enum",
)
_EMPTY = object()


class Variable(NamedTuple):
    """A place outside of a module that its code reads or writes."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


class Namespace(NamedTuple):
    """Something with names in it that code may bind, unbind and bind otherwise."""

    name: str
    names: Callable[[], dict[str, Any]]
    bind: Callable[[str, Any], None]
    drop: Callable[[str], None]


def namespaces_of(module: nn.Module) -> list[Namespace]:
    """Finds a module's own classes, the objects and functions that it holds, and the variables of the process."""
    functions = _all_functions(module)
    held = [value for part in module.modules() for value in part.__dict__.values()]
    held += [variable.read() for function in functions for _, variable in _around(function)]
    classes = [kind for part in module.modules() for kind in type(part).__mro__ if not _is_library(kind.__module__)]
    things: list[Any] = [*classes, *functions, *(value for value in held if _is_plain_object(value))]
    distinct = {id(thing): thing for thing in things}.values()
    return [*map(_namespace, distinct), _process()]


def caches_of(module: nn.Module) -> list[Any]:
    """Finds the functions with a cache (`functools.lru_cache`) that a module's own code calls."""
    around = [variable.read() for function in _all_functions(module) for _, variable in _around(function)]
    own = [value for part in module.modules() for kind in type(part).__mro__ for value in vars(kind).values()]
    found = [value for value in (*around, *own) if isinstance(value, functools._lru_cache_wrapper)]
    return list({id(one): one for one in found if not _is_library(one.__module__)}.values())


def _namespace(thing: Any) -> Namespace:
    name = getattr(thing, "__name__", type(thing).__name__)
    slots = [slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())]

    def names() -> dict[str, Any]:
        found = dict(getattr(thing, "__dict__", {}))
        return {**found, **{slot: getattr(thing, slot) for slot in slots if hasattr(thing, slot)}}

    return Namespace(name, names, functools.partial(setattr, thing), functools.partial(delattr, thing))


class _Process:
    """The variables of the process by name; the very same answer, which nobody writes to, as long as none changes."""

    def __init__(self, variables: Mapping[str, str]):
        self._variables = variables
        # As the system has them, which `os.environ` decodes, one by one, whenever it is asked.
        self._raw: Mapping[Any, Any] = getattr(self._variables, "_data", self._variables)
        self._last: dict[Any, Any] = {}
        self._names: dict[str, str] = {}

    def __call__(self) -> dict[str, str]:
        if self._raw != self._last:
            self._last, self._names = dict(self._raw), dict(self._variables)
        return self._names


def _process() -> Namespace:
    variables = process_variables()
    return Namespace("os.environ", _Process(variables), variables.__setitem__, variables.__delitem__)


def _is_plain_object(value: Any) -> bool:
    if isinstance(value, (nn.Module, Tensor, type, ModuleType, FunctionType, MethodType)):
        return False
    has_names = hasattr(value, "__dict__") or hasattr(type(value), "__slots__")
    return has_names and not _is_library(type(value).__module__)


def variables_of(module: nn.Module) -> list[Variable]:
    """Finds the variables around a module: those of its classes' and attributes' functions, and of what they call."""
    found: dict[tuple[int, str], Variable] = {}
    for function in _all_functions(module):
        for key, variable in (*_around(function), *_defaults(function)):
            value = variable.read()
            if isinstance(value, int | float | str | dict | list | set | Tensor | None) or value is _EMPTY:
                found.setdefault(key, variable)
    return list(found.values())


def _all_functions(module: nn.Module) -> list[FunctionType]:
    """A module's own functions, and those that they name, and so on."""
    waiting = list(_own_functions(module))
    seen: dict[int, FunctionType] = {}
    while waiting:
        function = waiting.pop()
        if id(function) in seen or _is_library(function.__module__):
            continue
        seen[id(function)] = function
        for _, variable in _around(function):
            waiting += _plain(variable.read())
    return list(seen.values())


def _defaults(function: FunctionType) -> Iterator[tuple[tuple[int, str], Variable]]:
    """The defaults of a function's parameters: what they hold can change, which of them there are can't."""
    for number, value in enumerate((*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())):
        name = f"a default of {function.__name__}"
        yield (id(function), str(number)), Variable(name, functools.partial(_same, value), _kept)


def _same(value: Any) -> Any:
    return value


def _kept(_: Any) -> None:
    """Nothing is to be written back: the name can't be bound otherwise."""


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
    if isinstance(value, functools._lru_cache_wrapper):
        value = value.__wrapped__
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
