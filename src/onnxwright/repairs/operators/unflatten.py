"""`unflatten` as a reshape: the tracing exporter keeps the sample's sizes of the axes beside it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin, is_number


def _unflatten(x: Tensor, dim: int, sizes: Any) -> Tensor:
    axis = dim % x.dim()
    return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])


def _is_counted(x: Tensor, dim: Any, sizes: Any) -> bool:
    return isinstance(dim, int) and isinstance(sizes, (tuple, list)) and all(is_number(size) for size in sizes)


TWIN = Twin("unflatten", ("torch.Tensor.unflatten", "torch.unflatten"), _unflatten, _is_counted, is_taken=True)
