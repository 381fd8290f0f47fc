"""`median` as the middle of what is sorted: neither exporter has it. For numbers without NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin

Middle = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""The middle of each row along an axis, which stays with size 1, and its place."""


def answered(
    middle: Middle, kind: Callable[[tuple[Tensor, Tensor]], Any], x: Tensor, dim: int | None, keep: bool
) -> Any:
    """Returns a middle as PyTorch does: of all elements alone, or along an axis with its places, as a `kind`."""
    if dim is None:
        return middle(x.reshape(-1), 0)[0].squeeze(0)
    values, indices = middle(x, dim)
    return kind((values, indices) if keep else (values.squeeze(dim), indices.squeeze(dim)))


def _median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    return answered(_middle, torch.return_types.median, x, dim, keepdim)


def _middle(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    values, indices = x.sort(dim)
    middle = (torch.ones_like(x).to(torch.int64).sum(dim, keepdim=True) - 1) // 2
    return values.gather(dim, middle), indices.gather(dim, middle)


TWIN = Twin("median", ("torch.median", "torch.Tensor.median"), _median, lambda x, *_, **__: x.dim() > 0)
