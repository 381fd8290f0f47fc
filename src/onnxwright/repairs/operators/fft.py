"""`fft` of numbers as products with cosines and sines: the tracing exporter has none, and engines lose digits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.pairs import Pair, as_pair

_SCALED = {"ortho": 0.5, "forward": 1.0}


def turns(count: Any, size: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the cosines and sines of `2 pi i j / size`, for `i` below a count and `j` below the size.

    Sines are 0 where they have to be, so that a real sum has an imaginary part of 0.
    """
    one, other = torch.arange(count, device=like.device), torch.arange(size, device=like.device)
    places = one[:, None] * other[None, :] % size
    angles = places.to(like.dtype) * (2.0 * math.pi / size)
    return torch.cos(angles), torch.where(2 * places % size == 0, torch.zeros_like(angles), torch.sin(angles))


def transformed(x: Pair, dim: int, norm: str | None = None, *, is_inverse: bool = False) -> Pair:
    """Returns the discrete Fourier transform along an axis: `sum x[k] exp(-2 pi i j k / n)` at each `j`.

    The inverse turns the other way round, and is divided by `n`.
    """
    real, imag = x.real.movedim(dim, -1), x.imag.movedim(dim, -1)
    size = x.shape[dim]
    cosines, sines = turns(size, size, real)
    sines = -sines if is_inverse else sines
    turned = real @ cosines + imag @ sines, imag @ cosines - real @ sines
    return Pair(*(part.movedim(-1, dim) * scale(size, norm, is_inverse=is_inverse) for part in turned))


def scale(size: Any, norm: str | None, *, is_inverse: bool = False) -> Any:
    """Returns the factor of a transform over so many places, as its `norm` says."""
    power = _SCALED.get(norm or "backward", 0.0)
    power = 1.0 - power if is_inverse else power
    return 1.0 / size**power if power else 1.0


def resized(x: Tensor, n: Any, dim: int) -> Tensor:
    """Returns a tensor with `n` places along an axis: the first ones, and zeros where there are no more."""
    moved = x.movedim(dim, -1)
    return functional.pad(moved, (0, n))[..., :n].movedim(-1, dim)


def sized(x: Pair, n: Any, dim: int) -> Pair:
    """Returns a pair with `n` places along an axis, or as many as it has where no number is given."""
    return x if n is None else Pair(resized(x.real, n, dim), resized(x.imag, n, dim))


def _fft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Pair:  # noqa: A002 - torch's name
    return transformed(sized(as_pair(input), n, dim), dim, norm)


def is_pair_of_floats(input: Any, *_: object, **__: object) -> bool:  # noqa: A002
    """Whether numbers are real, or stand for complex ones."""
    return isinstance(input, Pair) or (isinstance(input, Tensor) and input.is_floating_point())


TWIN = Twin("fft", ("torch.fft.fft",), _fft, is_pair_of_floats, counts=lambda *_, **__: True)
