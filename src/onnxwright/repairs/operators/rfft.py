"""`rfft` as products with cosines and sines: the tracing exporter has none, and engines lose digits."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.fft import is_pair_of_floats, resized, scale, turns
from onnxwright.repairs.operators.pairs import Pair


def half(x: Tensor, dim: int, norm: str | None = None) -> Pair:
    """Returns the first half of the Fourier transform of real numbers, along an axis; the other half mirrors it."""
    moved = x.movedim(dim, -1)
    size = x.shape[dim]
    factor = scale(size, norm)
    cosines, sines = (part.transpose(0, 1) * factor for part in turns(size // 2 + 1, size, moved))
    return Pair((moved @ cosines).movedim(-1, dim), (0.0 - moved @ sines).movedim(-1, dim))  # never -0


def _rfft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Pair:  # noqa: A002 - torch's name
    return half(input if n is None else resized(input, n, dim), dim, norm)


TWIN = Twin("rfft", ("torch.fft.rfft",), _rfft, is_pair_of_floats)
