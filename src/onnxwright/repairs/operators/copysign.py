"""`copysign` by the reciprocal, in which the two zeros differ: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.atan2 import are_real


def _copysign(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    is_negative = (other < 0) | (1 / other < 0)  # ONNX Runtime's `Where` makes one zero of both
    size = input.abs()
    return torch.where(is_negative, -size, size)


TWIN = Twin("copysign", ("torch.copysign", "torch.Tensor.copysign"), _copysign, are_real)
