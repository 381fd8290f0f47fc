"""`irfft` as products with cosines and sines: the tracing exporter has none, and others keep the sample's length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.fft import scale, turns
from onnxwright.repairs.operators.pairs import Pair


def whole(x: Pair, size: Any, dim: int, norm: str | None = None) -> Tensor:
    """Returns the real numbers, so many, of whose Fourier transform a pair is the first half."""
    real, imag = x.real.movedim(dim, -1), x.imag.movedim(dim, -1)
    cosines, sines = turns(x.shape[dim], size, real)
    place = torch.arange(x.shape[dim], device=real.device)
    is_known, is_mirrored = place <= size // 2, (place > 0) & (2 * place < size)
    weights = (is_known.to(real.dtype) + is_mirrored.to(real.dtype))[:, None] * scale(size, norm, is_inverse=True)
    answer: Tensor = real @ (cosines * weights) - imag @ (sines * weights)
    return answer.movedim(-1, dim)


def _irfft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:  # noqa: A002
    return whole(input, 2 * (input.shape[dim] - 1) if n is None else n, dim, norm)


def is_pair(input: Any, *_: object, **__: object) -> bool:  # noqa: A002
    """Whether something stands for complex numbers."""
    return isinstance(input, Pair)


TWIN = Twin("irfft", ("torch.fft.irfft",), _irfft, is_pair, counts=lambda *_, **__: True)
