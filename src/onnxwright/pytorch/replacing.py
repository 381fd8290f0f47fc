"""Functions that stand in for others wherever the user's code finds them, for a while."""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Final

OWN: Final = {"torch", "onnxwright"}
"""Packages whose modules are not the user's."""


_UNREAD: Final = "__onnxwright_unread__"
_PYTHONS: Final = "builtins."


def without_reading(function: Callable[..., Any], applies: Callable[..., bool]) -> Callable[..., Any]:
    """Returns a function that says for which arguments it computes by operators what another one reads in Python."""
    setattr(function, _UNREAD, applies)
    return function


def unread_by(function: Callable[..., Any]) -> Callable[..., bool]:
    """Returns what a function has said of that; nothing, where it has not."""
    unread: Callable[..., bool] = getattr(function, _UNREAD, lambda *_, **__: False)
    return unread


@contextlib.contextmanager
def replaced(*pairs: tuple[str, Callable[[Any], Callable[..., Any]]], held_by: Iterable[Any] = ()) -> Iterator[None]:
    """Has what is made of functions stand in their places, and wherever the user's modules have imported them.

    So it does in the attributes of some objects, which may hold a function with arguments given (`partial`), or a list,
    tuple or dict of functions. Of several at one place, each is made of the one before it. A function of Python itself
    (`builtins.len`) is replaced in the files alone in which the classes of these objects stand.
    """
    holders = list(held_by)
    keeping = _keeping(holders)
    owners = [(*_owner(place), made) for place, made in pairs if not place.startswith(_PYTHONS)]
    known = [(owner, name, made) for owner, name, made in owners if owner is not None]
    held = _held([getattr(owner, name) for owner, name, _ in known if hasattr(owner, name)])
    with contextlib.ExitStack() as entered:
        for owner, name, made in known:
            own = getattr(owner, name, None)
            stand_in, elsewhere = made(own), held.get(id(own), [])
            entered.enter_context(_in_places([(owner, name), *elsewhere], own, stand_in))
            for holder, key in keeping if own is not None else ():
                kept = vars(holder)[key]
                if (other := _instead(kept, own, stand_in)) is not kept:
                    setattr(holder, key, other)
                    entered.callback(setattr, holder, key, kept)
            held[id(stand_in)] = elsewhere
        for name, made in ((place.removeprefix(_PYTHONS), made) for place, made in pairs if place.startswith(_PYTHONS)):
            own = getattr(builtins, name)
            entered.enter_context(_in_places([(file, name) for file in _files_of(holders, name)], own, made(own)))
        yield


@contextlib.contextmanager
def in_class(kind: type, name: str, member: Any) -> Iterator[None]:
    """Has something stand in the place of a member of a class; of an inherited one, in this class alone."""
    inherited = object()
    before = vars(kind).get(name, inherited)
    setattr(kind, name, member)
    try:
        yield
    finally:
        if before is inherited:
            delattr(kind, name)
        else:
            setattr(kind, name, before)


def _files_of(holders: Iterable[Any], name: str) -> list[ModuleType]:
    """The user's modules in which the classes of objects stand, but for those in which a name is another's."""
    kinds = {kind.__module__ for holder in holders for kind in type(holder).__mro__}
    named = (sys.modules.get(one) for one in kinds if one.partition(".")[0] not in {*OWN, "builtins"})
    return [one for one in named if one is not None and name not in vars(one)]


def _keeping(holders: Sequence[Any]) -> list[tuple[Any, str]]:
    """The attributes of objects that may be a function, or hold some."""
    return [
        (holder, key) for holder in holders for key, kept in vars(holder).items() if any(map(callable, _members(kept)))
    ]


def _members(kept: Any) -> Collection[Any]:
    """What is in a plain list, tuple or dict; else the thing itself."""
    if type(kept) is dict:
        return kept.values()
    return kept if type(kept) in {list, tuple} else (kept,)


def _instead(kept: Any, function: Any, stand_in: Any) -> Any:
    """What is kept, with another function in the place of one, by itself or among others; the same where it isn't."""
    if kept is function:
        return stand_in
    if isinstance(kept, functools.partial):
        return functools.partial(stand_in, *kept.args, **kept.keywords) if kept.func is function else kept
    if type(kept) not in {list, tuple, dict}:
        return kept
    members = list(_members(kept))
    others = [one if type(one) in {list, tuple, dict} else _instead(one, function, stand_in) for one in members]
    if all(one is other for one, other in zip(members, others, strict=True)):
        return kept
    return dict(zip(kept, others, strict=True)) if type(kept) is dict else type(kept)(others)


@contextlib.contextmanager
def _in_places(holders: Sequence[tuple[Any, str]], own: Any, stand_in: Any) -> Iterator[None]:
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
    if not place.startswith("torch."):
        return sys.modules.get(path), name
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            owner: Any = importlib.import_module(".".join(parts[:end]))
            return functools.reduce(getattr, parts[end:], owner), name
    raise AssertionError(place)


def _held(functions: Sequence[Any]) -> dict[int, list[tuple[ModuleType, str]]]:
    """Where else functions are called from: `from torch.nn.functional import pad` binds it in the user's module."""
    found: dict[int, list[tuple[ModuleType, str]]] = {id(function): [] for function in functions}
    for module in [one for one in list(sys.modules.values()) if type(one) is ModuleType]:
        if module.__name__.partition(".")[0] in OWN or found.keys().isdisjoint(map(id, vars(module).values())):
            continue
        for name, value in vars(module).items():
            if id(value) in found:
                found[id(value)].append((module, name))
    return found
