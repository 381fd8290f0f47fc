"""`hypot` by the greater of both, so that no square overflows: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.atan2 import are_real


def _hypot(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    one, two = input.abs(), other.abs()
    most, least = torch.maximum(one, two), torch.minimum(one, two)
    is_plain = (most > 0) & (most < torch.inf)
    ratio = least / torch.where(is_plain, most, torch.ones_like(most))
    found = torch.where(is_plain, most * torch.sqrt(1 + ratio * ratio), most)
    is_endless = (one == torch.inf) | (two == torch.inf)
    return torch.where(is_endless, torch.full_like(found, torch.inf), found)


TWIN = Twin("hypot", ("torch.hypot", "torch.Tensor.hypot"), _hypot, are_real)
