"""`logaddexp` from the greater of two numbers and their distance: the tracing exporter has none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.xlogy import are_real


def _summed(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    greatest = torch.maximum(input, other)
    summed = greatest + torch.log1p(torch.exp(-(input - other).abs()))
    return torch.where(input == other, input + torch.log(torch.full_like(input, 2.0)), summed)


TWIN = Twin("logaddexp", ("torch.logaddexp", "torch.Tensor.logaddexp"), _summed, are_real)
