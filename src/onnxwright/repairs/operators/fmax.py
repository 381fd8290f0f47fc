"""`fmax` as the greater of two, or the one that is a number: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.atan2 import are_real


def _fmax(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    greatest = torch.maximum(input, other)
    return torch.where(torch.isnan(input), other, torch.where(torch.isnan(other), input, greatest))


TWIN = Twin("fmax", ("torch.fmax", "torch.Tensor.fmax"), _fmax, are_real)
