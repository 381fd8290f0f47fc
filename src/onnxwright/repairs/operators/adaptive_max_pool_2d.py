"""`adaptive_max_pool2d` as maxima over a mask of stretches: exporters need the sizes, and keep the sample's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.adaptive_pool_2d import is_several, pooled, sizes_of, stretches


def maxima(x: Tensor, axis: int, count: Any) -> Tensor:
    """Takes the greatest number of each of `count` stretches of an axis."""
    rows = x.transpose(axis, -1).unsqueeze(-2)
    least = torch.full_like(rows, -torch.inf)
    return torch.where(stretches(x, axis, count), rows, least).amax(-1).transpose(axis, -1)


def _pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Tensor:  # noqa: A002 - torch's name
    return pooled(input, sizes_of(output_size, 2), maxima)


def _is_taken(input: Tensor, output_size: Any, return_indices: bool = False) -> bool:  # noqa: A002
    return not return_indices and is_several(input, sizes_of(output_size, 2))


TWIN = Twin(
    "adaptive_max_pool2d",
    ("torch.nn.functional.adaptive_max_pool2d",),
    _pool,
    _is_taken,
)
