"""Sizes as whole numbers that know which dim they are, so that a run on real tensors tells what is asked of them.

What asks `isinstance(n, int)`, or whether it is traced, goes another way on symbolic sizes than it does for users.
"""

from __future__ import annotations

import contextlib
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from torch import Tensor

from onnxwright.pytorch.lines import is_users_frame

_MAKING: Final = {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%"}
_ASKING: Final = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

Note = Callable[[str], None]
"""Takes a question, as Python of `dims`."""


class Labelled(int):
    """A size, or what is computed from sizes, with the Python that computes it."""

    code: str
    note: Note

    def __hash__(self) -> int:
        return int(self)

    def __bool__(self) -> bool:
        if is_users_frame(sys._getframe(1)):
            self.note(f"{self.code} != 0")
        return int(self) != 0


def _labelled(value: int, code: str, note: Note) -> Labelled:
    made = Labelled(value)
    made.code, made.note = code, note
    return made


def _code(value: Any) -> str:
    return value.code if isinstance(value, Labelled) else repr(value)


def _making(name: str, sign: str, *, is_turned: bool) -> Callable[[Labelled, Any], Any]:
    act = getattr(operator, name)

    def make(one: Labelled, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        first, second = (other, one) if is_turned else (one, other)
        made = act(int(first), int(second))
        return _labelled(made, f"({_code(first)} {sign} {_code(second)})", one.note)

    return make


def _asking(name: str, sign: str) -> Callable[[Labelled, Any], Any]:
    act = getattr(operator, name)

    def ask(one: Labelled, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        if is_users_frame(sys._getframe(1)):
            one.note(f"{one.code} {sign} {_code(other)}")
        return act(int(one), int(other) if isinstance(other, int) else other)

    return ask


for _name, _sign in _MAKING.items():
    setattr(Labelled, f"__{_name}__", _making(_name, _sign, is_turned=False))
    setattr(Labelled, f"__r{_name}__", _making(_name, _sign, is_turned=True))
for _name, _sign in _ASKING.items():
    setattr(Labelled, f"__{_name}__", _asking(_name, _sign))


class _Shape(tuple[int, ...]):
    __slots__ = ()

    def numel(self) -> int:
        """The product of all sizes."""
        product = 1
        for size in self:
            product = product * size
        return product


@contextlib.contextmanager
def sizes_labelled(dims: Mapping[int, str], note: Note) -> Iterator[None]:
    """Has the user's code be answered labelled sizes while entered: those of the dims, by what they are in this run."""
    shape: Any = Tensor.shape
    size = Tensor.size

    def label(number: int) -> int:
        return _labelled(number, f"dims[{dims[number]!r}]", note) if number in dims else number

    def shape_of(tensor: Tensor) -> Any:
        own = shape.__get__(tensor)
        return _Shape(map(label, own)) if is_users_frame(sys._getframe(1)) else own

    def size_of(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        own = size(tensor, *args, **kwargs)
        if not is_users_frame(sys._getframe(1)):
            return own
        return label(own) if isinstance(own, int) else _Shape(map(label, own))

    Tensor.shape, Tensor.size = property(shape_of), size_of  # type: ignore[assignment, method-assign]  # put back below
    try:
        yield
    finally:
        Tensor.shape, Tensor.size = shape, size  # type: ignore[method-assign]  # as before
