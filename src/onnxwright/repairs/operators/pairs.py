"""Complex numbers as pairs of real tensors, for code that only rotates with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_KEPT = (
    *("unsqueeze", "squeeze", "transpose", "permute", "expand", "contiguous", "clone", "cpu"),
    *("repeat", "movedim", "detach", "index_select", "narrow", "repeat_interleave", "unflatten", "select"),
)
"""Methods of tensors that do to a complex tensor what they do to its parts; `flatten` and `view` alike."""


class Pair:
    """A complex tensor by its real and imaginary parts, of one shape."""

    def __init__(self, real: Tensor, imag: Tensor):
        self.real, self.imag = real, imag

    @property
    def shape(self) -> torch.Size:
        """The shape of each part."""
        return self.real.shape

    @property
    def device(self) -> torch.device:
        """Where both are."""
        return self.real.device

    @property
    def ndim(self) -> int:
        """How many axes each part has."""
        return self.real.dim()

    def dim(self) -> int:
        """How many axes each part has."""
        return self.real.dim()

    def size(self, *axis: int) -> Any:
        """The shape of each part, or the size of an axis."""
        return self.real.size(*axis)

    def each(self, act: Callable[[Tensor], Tensor]) -> Pair:
        """Returns what is made of both parts."""
        return Pair(act(self.real), act(self.imag))

    def __getitem__(self, index: Any) -> Pair:
        return self.each(lambda part: part[index])

    def view(self, *shape: int) -> Pair:
        """Both parts in another shape."""
        return self.each(lambda part: part.reshape(*shape))

    reshape = view

    def flatten(self, *axes: int) -> Pair:
        """Both parts with axes in one."""
        return self.each(lambda part: part.flatten(*axes))

    def to(self, *_: Any, **__: Any) -> Pair:
        """The pair as it is: complex types have one size here, and one device."""
        return self

    type_as = to

    def conj(self) -> Pair:
        """The conjugate."""
        return Pair(self.real, -self.imag)

    def abs(self) -> Tensor:
        """The absolute value."""
        return torch.sqrt(self.real**2 + self.imag**2)

    def __mul__(self, other: Any) -> Pair:
        if not isinstance(other, Pair):
            return self.each(lambda part: part * other)
        real = self.real * other.real - self.imag * other.imag
        return Pair(real, self.real * other.imag + self.imag * other.real)

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Pair:
        is_pair = isinstance(other, Pair)
        return Pair(self.real + (other.real if is_pair else other), self.imag + (other.imag if is_pair else 0.0))

    __radd__ = __add__

    def __neg__(self) -> Pair:
        return self.each(torch.neg)

    def __sub__(self, other: Any) -> Pair:
        whole: Pair = self + (-other)
        return whole

    def __getattr__(self, name: str) -> Any:
        if name not in _KEPT:
            raise AttributeError(f"a complex tensor taken as a pair has no '{name}'")
        return lambda *args, **kwargs: self.each(lambda part: getattr(part, name)(*args, **kwargs))


def is_real(*parts: Any, **_: Any) -> bool:
    """Whether what a complex tensor is made of is real."""
    return all(isinstance(part, Tensor) and part.is_floating_point() for part in parts)
