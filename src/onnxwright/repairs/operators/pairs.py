"""Complex numbers as pairs of real tensors, for code that turns, scales and filters with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators.atan2 import angle

_KEPT = (
    *("unsqueeze", "squeeze", "transpose", "permute", "expand", "contiguous", "clone", "cpu"),
    *("repeat", "movedim", "detach", "index_select", "narrow", "repeat_interleave", "unflatten", "select"),
    *("roll", "flip", "sum", "mean", "swapaxes", "chunk", "split", "swapdims", "unbind", "cumsum", "diff"),
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

    @property
    def dtype(self) -> torch.dtype:
        """The complex type of the pair."""
        return torch.complex128 if self.real.dtype == torch.float64 else torch.complex64

    def is_complex(self) -> bool:
        """Whether it stands for complex numbers: it does."""
        return True

    def dim(self) -> int:
        """How many axes each part has."""
        return self.real.dim()

    def numel(self) -> int:
        """How many numbers it stands for."""
        return self.real.numel()

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

    def zeros_like(self, **_: Any) -> Pair:
        """Zeros, to write parts of a spectrum into."""
        return self.each(torch.zeros_like)

    empty_like = zeros_like

    def new_zeros(self, *size: Any, **_: Any) -> Pair:
        """Zeros of another shape."""
        return self.each(lambda part: part.new_zeros(*size))

    def exp(self) -> Pair:
        """The exponential, by Euler's formula."""
        size = self.real.exp()
        return Pair(size * self.imag.cos(), size * self.imag.sin())

    def conj(self) -> Pair:
        """The conjugate."""
        return Pair(self.real, -self.imag)

    def abs(self) -> Tensor:
        """The absolute value."""
        return torch.sqrt(self.real**2 + self.imag**2)

    def angle(self) -> Tensor:
        """The angle, from -pi to pi."""
        return angle(self.imag, self.real)

    def __pow__(self, power: int) -> Pair:
        if power != 2:
            raise AttributeError(f"a complex tensor taken as a pair has no power of {power}")
        return self * self

    pow = __pow__

    def __truediv__(self, other: Any) -> Pair:
        other = paired(other)
        if not isinstance(other, Pair):
            return self.each(lambda part: part / other)
        return (self * other.conj()).each(lambda part: part / (other.real**2 + other.imag**2))

    def __setitem__(self, index: Any, value: Any) -> None:
        value = paired(value)
        is_pair = isinstance(value, Pair)
        self.real[index] = value.real if is_pair else value
        self.imag[index] = value.imag if is_pair else 0.0

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], _: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Does what one of PyTorch's functions does to complex tensors, as far as pairs can."""
        name = function.__name__
        if name in _JOINING:
            parts = [as_pair(one) for one in args[0]]
            each = (function([getattr(one, side) for one in parts], *args[1:], **(kwargs or {})) for side in _SIDES)
            return cls(*each)
        if name == "einsum":
            return _summed(*args)
        if name in ("real", "imag"):
            return getattr(as_pair(args[0]), name)
        if name in ("mul", "multiply", "__mul__", "__rmul__") and not isinstance(args[0], Pair):
            return args[1] * args[0]
        if name in _OF_REAL and not isinstance(args[0], Pair):
            return getattr(as_pair(args[0]), _CALLED.get(name, name))(args[1])
        return getattr(args[0], _CALLED.get(name, name))(*args[1:], **(kwargs or {}))

    def __mul__(self, other: Any) -> Pair:
        other = paired(other)
        if not isinstance(other, Pair):
            return self.each(lambda part: part * other)
        real = self.real * other.real - self.imag * other.imag
        return Pair(real, self.real * other.imag + self.imag * other.real)

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> Pair:
        one, another = self, as_pair(other)
        return Pair(
            one.real @ another.real - one.imag @ another.imag, one.real @ another.imag + one.imag @ another.real
        )

    def __rmatmul__(self, other: Any) -> Pair:
        return as_pair(other).__matmul__(self)

    matmul = bmm = __matmul__

    def __add__(self, other: Any) -> Pair:
        other = paired(other)
        is_pair = isinstance(other, Pair)
        return Pair(self.real + (other.real if is_pair else other), self.imag + (other.imag if is_pair else 0.0))

    __radd__ = __add__

    def __neg__(self) -> Pair:
        return self.each(torch.neg)

    def __sub__(self, other: Any) -> Pair:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Pair:
        return (-self).__add__(other)

    def __getattr__(self, name: str) -> Any:
        if name not in _KEPT:
            raise AttributeError(f"a complex tensor taken as a pair has no '{name}'")
        return lambda *args, **kwargs: _each_of(self, name, args, kwargs)


def _each_of(pair: Pair, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a method makes of both parts: a pair, or several where it gives several."""
    real, imag = (getattr(part, name)(*args, **kwargs) for part in (pair.real, pair.imag))
    return tuple(map(Pair, real, imag)) if isinstance(real, tuple) else Pair(real, imag)


_SIDES = ("real", "imag")
_JOINING = ("cat", "concat", "stack")
_OF_REAL = ("matmul", "bmm", "__matmul__", "add", "sub", "div")
"""Functions that take a real tensor first, and a complex one after it."""
_CALLED = {"mul": "__mul__", "multiply": "__mul__", "add": "__add__", "sub": "__sub__", "div": "__truediv__"}


def paired(value: Any) -> Any:
    """Returns a complex tensor or number as a pair, and anything else as it is."""
    if isinstance(value, Tensor) and value.is_complex():
        if torch._C._get_tracing_state() is not None:  # of a weight: a graph that is traced can't hold it
            return Pair(*(torch.from_numpy(part.copy()) for part in _parts(value.detach().resolve_conj().numpy())))
        parts = torch.view_as_real(value.detach().resolve_conj())
        return Pair(parts[..., 0], parts[..., 1])
    return Pair(torch.tensor(value.real), torch.tensor(value.imag)) if isinstance(value, complex) else value


def _parts(value: Any) -> tuple[Any, Any]:
    return value.real, value.imag


def as_pair(value: Any) -> Pair:
    """Returns complex or real numbers as a pair."""
    value = paired(value)
    return value if isinstance(value, Pair) else Pair(value, torch.zeros_like(value))


def _summed(equation: str, *operands: Any) -> Pair:
    """`einsum` of two pairs, or of one and a real tensor."""
    first, second = (as_pair(one) for one in operands)
    (rr, ii, ri, ir) = (
        torch.einsum(equation, getattr(first, one), getattr(second, other))
        for one, other in (("real", "real"), ("imag", "imag"), ("real", "imag"), ("imag", "real"))
    )
    return Pair(rr - ii, ri + ir)


def is_real(*parts: Any, **_: Any) -> bool:
    """Whether what a complex tensor is made of is real."""
    return all(isinstance(part, Tensor) and part.is_floating_point() for part in parts)
