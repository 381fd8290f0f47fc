"""`rfft2` as products with cosines and sines: exporters have none."""

from __future__ import annotations

from typing import Any

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.fft import is_pair_of_floats, transformed
from onnxwright.repairs.operators.pairs import Pair
from onnxwright.repairs.operators.rfft import half


def _rfft2(input: Any, *, dim: tuple[int, int] = (-2, -1), norm: str | None = None) -> Pair:  # noqa: A002
    other, last = dim
    return transformed(half(input, last, norm), other, norm)


TWIN = Twin("rfft2", ("torch.fft.rfft2",), _rfft2, is_pair_of_floats)
