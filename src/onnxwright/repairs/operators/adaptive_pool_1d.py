"""`adaptive_avg_pool1d` as a product with a matrix of weights: exporters need the size, and keep the sample's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.adaptive_pool_2d import is_fixed, pooled


def _sizes(output_size: Any) -> Sequence[Any]:
    return output_size if isinstance(output_size, tuple | list) else (output_size,)


def _pool(input: Tensor, output_size: Any) -> Tensor:  # noqa: A002 - torch's name
    return pooled(input, _sizes(output_size))


TWIN = Twin(
    "adaptive_avg_pool1d",
    ("torch.nn.functional.adaptive_avg_pool1d", "torch.adaptive_avg_pool1d"),
    _pool,
    lambda input, output_size: is_fixed(input, _sizes(output_size)),  # noqa: A006 - torch's name
)
