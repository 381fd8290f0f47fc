"""`median` as the middle of what is sorted: neither exporter has it. For numbers without NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> object:
    if dim is None:
        return _middle(x.reshape(-1), 0)[0].squeeze(0)
    values, indices = _middle(x, dim)
    found = (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))
    return torch.return_types.median(found)


def _middle(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    values, indices = x.sort(dim)
    middle = (torch.ones_like(x).to(torch.int64).sum(dim, keepdim=True) - 1) // 2
    return values.gather(dim, middle), indices.gather(dim, middle)


TWIN = Twin("median", ("torch.median", "torch.Tensor.median"), _median, lambda x, *_, **__: x.dim() > 0)
