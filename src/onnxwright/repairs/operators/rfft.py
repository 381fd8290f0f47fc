"""`rfft` as products with cosines and sines: exporters have no complex numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.irfft import SCALES, turns
from onnxwright.repairs.operators.pairs import Pair


def _rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Pair:  # noqa: A002
    """`sum x[t] exp(-2 pi i k t / n)` at each `k` up to half of `n`."""
    size = input.shape[dim] if n is None else n
    cosines, sines = turns(size, input)
    x = input.movedim(dim, -1) / size ** (1.0 - SCALES[norm])
    return Pair((x @ cosines.mT).movedim(-1, dim), -(x @ sines.mT).movedim(-1, dim))


def _is_whole(input: Any, n: object = None, dim: int = -1, norm: object = None) -> bool:  # noqa: A002
    """Whether all of an axis of real numbers is transformed."""
    is_real = isinstance(input, Tensor) and input.is_floating_point() and norm in SCALES
    return is_real and (n is None or (type(n) is int and int(input.shape[dim]) == n))


TWIN = Twin("rfft", ("torch.fft.rfft",), _rfft, _is_whole)
