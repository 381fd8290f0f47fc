"""`cumprod` as the product of what stands up to each place, of all pairs of places: the tracing exporter has none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _cumprod(input: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:  # noqa: A002
    whole = input.dtype in (torch.bool, torch.int32)
    moved = input.to(dtype or (torch.int64 if whole else input.dtype)).movedim(dim, -1)
    places = torch.ones_like(moved, dtype=torch.int64).cumsum(-1)
    is_before = places[..., None, :] <= places[..., :, None]
    known = torch.where(is_before, moved[..., None, :], torch.ones_like(moved)[..., None, :])
    return known.prod(-1).movedim(-1, dim)


def _is_several(input: Tensor, dim: int, *, dtype: object = None) -> bool:  # noqa: A002
    return input.dim() > 0


TWIN = Twin("cumprod", ("torch.cumprod", "torch.Tensor.cumprod"), _cumprod, _is_several)
