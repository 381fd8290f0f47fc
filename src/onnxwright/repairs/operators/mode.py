"""`mode` as the least of the elements that are equal to the most others: exporters have none. Without NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.cummax import end_of


def _mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> torch.return_types.mode:
    moved = x.movedim(dim, -1)
    counts = (moved[..., :, None] == moved[..., None, :]).sum(-1)
    is_most = counts == counts.amax(-1, keepdim=True)
    most = torch.full_like(moved, end_of(x.dtype, is_greatest=True))
    values = torch.where(is_most, moved, most).amin(-1, keepdim=True)
    places = torch.ones_like(moved, dtype=torch.int64).cumsum(-1) - 1
    last = torch.where(moved == values, places, torch.zeros_like(places)).amax(-1, keepdim=True)
    found = values.movedim(-1, dim), last.movedim(-1, dim)
    return torch.return_types.mode(found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim)))


def _is_row(x: Tensor, *_: object, **__: object) -> bool:
    return x.dim() > 0 and x.dtype != torch.bool


TWIN = Twin("mode", ("torch.mode", "torch.Tensor.mode"), _mode, _is_row)
