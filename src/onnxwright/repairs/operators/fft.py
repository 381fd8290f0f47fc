"""`fft` of real numbers as products with cosines and sines: the tracing exporter has none, and engines lose digits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.pairs import Pair


def transformed(x: Pair, dim: int) -> Pair:
    """Returns the discrete Fourier transform along an axis: `sum x[k] exp(-2 pi i j k / n)` at each `j`."""
    real, imag = x.real.movedim(dim, -1), x.imag.movedim(dim, -1)
    size = x.shape[dim]
    places = torch.arange(size, device=real.device)
    angles = (places[:, None] * places[None, :] % size).to(real.dtype) * (2.0 * math.pi / size)
    cosines, sines = torch.cos(angles), torch.sin(angles)
    turned = real @ cosines + imag @ sines, imag @ cosines - real @ sines
    return Pair(*(part.movedim(-1, dim) for part in turned))


def of_real(x: Any) -> Pair:
    """Returns real numbers as complex ones."""
    return x if isinstance(x, Pair) else Pair(x, torch.zeros_like(x))


def _fft(input: Any, *, dim: int = -1) -> Pair:  # noqa: A002
    return transformed(of_real(input), dim)


def is_pair_of_floats(input: Any, **_: object) -> bool:  # noqa: A002
    """Whether numbers are real, or stand for complex ones."""
    return isinstance(input, Pair) or (isinstance(input, Tensor) and input.is_floating_point())


TWIN = Twin("fft", ("torch.fft.fft",), _fft, is_pair_of_floats)
