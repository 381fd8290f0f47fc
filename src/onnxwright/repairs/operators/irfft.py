"""`irfft` as products with cosines and sines: exporters have no complex numbers, and vocoders end in it."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.pairs import Pair

SCALES: Final = {None: 1.0, "backward": 1.0, "ortho": 0.5, "forward": 0.0}
"""To which power of the length an inverse transform is divided."""


def _irfft(input: Pair, n: int, dim: int = -1, norm: str | None = None) -> Tensor:  # noqa: A002 - torch's name
    """`x[t] = sum w[k] (re[k] cos(2 pi k t / n) - im[k] sin(2 pi k t / n)) / n`, what lies between the ends twice."""
    cosines, sines = turns(n, input.real)
    twice = torch.full((n // 2 + 1, 1), 2.0, dtype=cosines.dtype, device=cosines.device)
    twice[0] = 1.0
    if n % 2 == 0:
        twice[-1] = 1.0
    twice = twice / float(n) ** SCALES[norm]
    real, imag = input.real.movedim(dim, -1), input.imag.movedim(dim, -1)
    answer: Tensor = real @ (twice * cosines) - imag @ (twice * sines)
    return answer.movedim(-1, dim)


def turns(size: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns cosines and sines for each frequency up to half of a length, a row each."""
    places = torch.arange(size, device=like.device)
    angles = (places[: size // 2 + 1, None] * places % size).to(torch.float64) * (2.0 * math.pi / size)
    return torch.cos(angles).to(like.dtype), torch.sin(angles).to(like.dtype)


def _is_half(input: Any, n: object = None, dim: int = -1, norm: object = None) -> bool:  # noqa: A002 - torch's name
    return isinstance(input, Pair) and _may_be_half(input, n, dim, norm)


def _may_be_half(input: Any, n: object = None, dim: int = -1, norm: object = None) -> bool:  # noqa: A002 - likewise
    """Whether complex numbers hold as many frequencies as a length needs that is a plain number."""
    is_pair = isinstance(input, Pair) or (isinstance(input, Tensor) and input.is_complex())
    return is_pair and norm in SCALES and type(n) is int and n > 1 and int(input.shape[dim]) == n // 2 + 1


TWIN = Twin("irfft", ("torch.fft.irfft",), _irfft, _is_half, counts=_may_be_half)
