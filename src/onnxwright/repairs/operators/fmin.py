"""`fmin` as the less of two, or the one that is a number: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.atan2 import are_real


def _fmin(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    least = torch.minimum(input, other)
    return torch.where(torch.isnan(input), other, torch.where(torch.isnan(other), input, least))


TWIN = Twin("fmin", ("torch.fmin", "torch.Tensor.fmin"), _fmin, are_real)
