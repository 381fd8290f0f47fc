"""`ifft` as products with cosines and sines: the tracing exporter has none, and engines lose digits."""

from __future__ import annotations

from typing import Any

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.fft import is_pair_of_floats, sized, transformed
from onnxwright.repairs.operators.pairs import Pair, as_pair


def _ifft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Pair:  # noqa: A002 - torch's name
    return transformed(sized(as_pair(input), n, dim), dim, norm, is_inverse=True)


TWIN = Twin("ifft", ("torch.fft.ifft",), _ifft, is_pair_of_floats, counts=lambda *_, **__: True)
