"""`adaptive_avg_pool1d` as a product with a matrix of weights: exporters need the size, and keep the sample's."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.adaptive_pool_2d import is_several, pooled, sizes_of


def _pool(input: Tensor, output_size: Any) -> Tensor:  # noqa: A002 - torch's name
    return pooled(input, sizes_of(output_size, 1))


TWIN = Twin(
    "adaptive_avg_pool1d",
    ("torch.nn.functional.adaptive_avg_pool1d", "torch.adaptive_avg_pool1d"),
    _pool,
    lambda input, output_size: is_several(input, sizes_of(output_size, 1)),  # noqa: A006 - torch's name
)
