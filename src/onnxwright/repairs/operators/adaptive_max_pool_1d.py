"""`adaptive_max_pool1d` as maxima over a mask of stretches: exporters need the size, and keep the sample's."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.adaptive_max_pool_2d import maxima
from onnxwright.repairs.operators.adaptive_pool_2d import is_several, pooled, sizes_of


def _pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Tensor:  # noqa: A002 - torch's name
    return pooled(input, sizes_of(output_size, 1), maxima)


def _is_taken(input: Tensor, output_size: Any, return_indices: bool = False) -> bool:  # noqa: A002
    return not return_indices and is_several(input, sizes_of(output_size, 1))


TWIN = Twin(
    "adaptive_max_pool1d",
    ("torch.nn.functional.adaptive_max_pool1d",),
    _pool,
    _is_taken,
)
