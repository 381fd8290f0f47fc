"""Numbers that are looked up by a size: in a list, an array of numpy, or a dictionary of whole numbers.

A whole number that is looked up stays one, as a size does; another one is a tensor of no axes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import SymInt, Tensor

from onnxwright.repairs.control_flow.settled import values_of

_MOST: Final = 1 << 20


def is_table(owner: Any) -> bool:
    """Whether something holds numbers of one kind, by their places or by whole numbers."""
    if isinstance(owner, np.ndarray):
        return owner.ndim == 1 and owner.dtype.kind in "if" and 0 < owner.size <= _MOST
    if isinstance(owner, dict):
        return _are_of(owner, int) and _are_numbers(list(owner.values()))
    return isinstance(owner, (list, tuple)) and _are_numbers(owner)


def looked_up(owner: Any, key: Any) -> Any:
    """Returns what a table holds at a place or under a key that varies."""
    place = key if isinstance(key, Tensor) else torch.full((), key, dtype=torch.int64)
    if isinstance(owner, dict):
        keys, owner = torch.tensor(list(owner)), list(owner.values())
        place = (keys == place).to(torch.int64).argmax(0)
    numbers = _numbers(owner)
    place = torch.where(place < 0, place + len(owner), place)
    return _told(numbers.index_select(0, place.reshape(1)).squeeze(0))


def got(owner: Any, key: Any, *default: Any) -> Any:
    """Returns what `owner.get(key, default)` does, where the key may vary."""
    varies = isinstance(key, SymInt) or (isinstance(key, Tensor) and key.dim() == 0 and not key.is_floating_point())
    is_known = isinstance(owner, dict) and is_table(owner) and default and _are_numbers([*owner.values(), *default])
    if not (varies and is_known):
        return owner.get(key, *default)
    place = key if isinstance(key, Tensor) else torch.full((), key, dtype=torch.int64)
    is_there = torch.tensor(list(owner)) == place
    numbers = _numbers([*owner.values(), *default])
    last = torch.full((1,), len(owner), dtype=torch.int64)
    first = torch.where(is_there, torch.arange(len(owner)), last).amin(0)
    return _told(numbers.index_select(0, first.reshape(1)).squeeze(0))


def tabulated(function: Callable[[int], Any]) -> Callable[..., Any]:
    """Returns a function of Python's that, of a size that varies, looks up what it answers over the profile."""

    def stand_in(value: Any) -> Any:
        span = values_of(value) if isinstance(value, SymInt) else None
        if span is None or len(span) > _MOST:
            return function(value)
        numbers = [function(number) for number in span]
        found = looked_up([one.item() if isinstance(one, np.generic) else one for one in numbers], value - span.start)
        if isinstance(found, SymInt):
            torch._check(found >= min(numbers))
            torch._check(found <= max(numbers))
        return found

    return stand_in


def _are_numbers(values: Any) -> bool:
    return 0 < len(values) <= _MOST and (_are_of(values, int) or _are_of(values, float))


def _are_of(values: Any, kind: type) -> bool:
    return all(type(value) is kind for value in values)


def _numbers(values: Any) -> Tensor:
    array = np.asarray(values)
    return torch.from_numpy(array.astype(np.int64 if array.dtype.kind == "i" else np.float64))


def _told(number: Tensor) -> Any:
    return number if number.is_floating_point() else number.item()
