"""Functions with a cache (`functools.lru_cache`) that a module's code calls, computed each time for a while.

A cache is asked by what a function is called with. Of sizes, which are tensors while a module is traced, Python takes
that as it takes numbers, and nobody could tell what it decides with them. In a trace such a cache never answers: each
size is a tensor of its own.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any, NamedTuple

from torch import nn

from onnxwright.pytorch.replacing import OWN

_Cache = functools._lru_cache_wrapper


class Held(NamedTuple):
    """A function with a cache where it is held, the function itself as it is to be held there, and how to put one."""

    put: Callable[[Any], None]
    cached: Any
    plain: Any


@contextlib.contextmanager
def uncached(module: nn.Module) -> Iterator[None]:
    """Has functions be computed each time while entered that a module's classes cache, or the functions around."""
    with asking_none(list(held_by(module))):
        yield


@contextlib.contextmanager
def asking_none(found: Sequence[Held]) -> Iterator[None]:
    """Has functions be computed each time while entered: what they answer meanwhile is in no cache afterwards."""
    try:
        for held in found:
            held.put(held.plain)
        yield
    finally:
        for held in found:
            held.put(held.cached)


def held_by(module: nn.Module) -> Iterator[Held]:
    """Yields the functions with a cache that a module's classes hold, or the functions around."""
    kinds = {kind for part in module.modules() for kind in type(part).__mro__ if not _is_own(kind.__module__)}
    seen = set[int]()
    for kind in kinds:
        for name, value in list(vars(kind).items()):
            inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
            if isinstance(inner, _Cache):
                plain = inner.__wrapped__ if inner is value else type(value)(inner.__wrapped__)
                yield Held(functools.partial(setattr, kind, name), value, plain)
            elif isinstance(inner, FunctionType):
                yield from _around(inner, seen)


def _around(function: FunctionType, seen: set[int]) -> Iterator[Held]:
    """What a function closes over and names, and the functions of its file that it names."""
    if id(function) in seen:
        return
    seen.add(id(function))
    space = function.__globals__
    named = [(name, space[name]) for name in function.__code__.co_names if name in space]
    closed = [(cell, cell.cell_contents) for cell in function.__closure__ or () if _is_bound(cell)]
    puts: list[tuple[Callable[[Any], None], Any]] = [
        *((functools.partial(space.__setitem__, name), value) for name, value in named),
        *((functools.partial(setattr, cell, "cell_contents"), value) for cell, value in closed),
    ]
    for put, value in puts:
        if isinstance(value, _Cache) and not _is_own(value.__module__):
            yield Held(put, value, value.__wrapped__)
    near = [value for _, value in named if getattr(value, "__module__", None) == function.__module__]
    for value in (*near, *(value for _, value in closed)):
        if isinstance(value, FunctionType):
            yield from _around(value, seen)


def _is_bound(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a variable that isn't bound yet
        return False


def _is_own(name: str | None) -> bool:
    return str(name).partition(".")[0] in OWN
