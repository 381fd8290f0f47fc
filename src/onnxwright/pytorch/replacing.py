"""Functions that stand in for others wherever the user's code finds them, for a while."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

OWN: Final = {"torch", "onnxwright"}
"""Packages whose modules are not the user's."""


_UNREAD: Final = "__onnxwright_unread__"


def without_reading(function: Callable[..., Any], applies: Callable[..., bool]) -> Callable[..., Any]:
    """Returns a function that says for which arguments it computes by operators what another one reads in Python."""
    setattr(function, _UNREAD, applies)
    return function


def unread_by(function: Callable[..., Any]) -> Callable[..., bool]:
    """Returns what a function has said of that; nothing, where it has not."""
    unread: Callable[..., bool] = getattr(function, _UNREAD, lambda *_, **__: False)
    return unread


@contextlib.contextmanager
def replaced(place: str, made: Callable[[Any], Callable[..., Any]]) -> Iterator[None]:
    """Has what is made of a function stand in its place, and wherever the user's modules have imported it."""
    owner, name = _owner(place)
    if owner is None:
        yield
        return
    own = getattr(owner, name, None)
    stand_in = made(own)
    holders = [(owner, name), *(_imported(own) if own is not None else ())]
    inherited = [holder for holder, key in holders if key not in vars(holder)]
    try:
        for holder, key in holders:
            setattr(holder, key, stand_in)
        yield
    finally:
        for holder, key in holders:
            if holder in inherited:
                delattr(holder, key)
            else:
                setattr(holder, key, own)


def _owner(place: str) -> tuple[Any, str]:
    """What holds a function, and its name; nothing where it is in a library that the user's code does not use."""
    path, _, name = place.rpartition(".")
    if not place.startswith(("torch.", "builtins.")):
        return sys.modules.get(path), name
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            owner: Any = importlib.import_module(".".join(parts[:end]))
            return functools.reduce(getattr, parts[end:], owner), name
    raise AssertionError(place)


def _imported(function: Any) -> list[tuple[ModuleType, str]]:
    """Where else a function is called from: `from torch.nn.functional import pad` binds it in the user's module."""
    found = []
    for module in [one for one in list(sys.modules.values()) if type(one) is ModuleType]:
        if module.__name__.partition(".")[0] not in OWN:
            names = vars(module)
            found += [(module, name) for name in list(names) if names[name] is function]
    return found
