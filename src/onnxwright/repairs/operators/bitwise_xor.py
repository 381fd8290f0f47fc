"""`^` of whole numbers as their sum less twice `&` of them: the tracing exporter knows it of bools alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.bitwise_or import both, is_whole


def _xor(x: Any, other: Any) -> Tensor:
    one, two = both(x, other)
    return one + two - 2 * (one & two)


_PLACES = ("torch.bitwise_xor", "torch.Tensor.bitwise_xor", "torch.Tensor.__xor__", "torch.Tensor.__rxor__")

TWIN = Twin("bitwise_xor", _PLACES, _xor, is_whole)
