"""`scaled_dot_product_attention` by its definition: exporters lose the rows in which everything is masked."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.routes.plain_attention import attend


def _attend(*args: Any, **kwargs: Any) -> Tensor:
    return attend(*args, **kwargs)


TWIN = Twin(
    "scaled_dot_product_attention", ("torch.nn.functional.scaled_dot_product_attention",), _attend, is_taken=True
)
