"""`nanmedian` as the middle of what is sorted, NaN last: exporters have none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.median import answered


def _nanmedian(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    return answered(_middle, torch.return_types.nanmedian, x, dim, keepdim)


def _middle(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    is_odd = torch.isnan(x)
    indices = torch.where(is_odd, torch.full_like(x, torch.inf), x).sort(dim).indices
    middle = (((~is_odd).to(torch.int64).sum(dim, keepdim=True) - 1) // 2).clamp(min=0)
    places = indices.gather(dim, middle)
    return x.gather(dim, places), places


def _is_of_floats(x: Tensor, *_: object, **__: object) -> bool:
    return x.is_floating_point() and x.dim() > 0


TWIN = Twin("nanmedian", ("torch.nanmedian", "torch.Tensor.nanmedian"), _nanmedian, _is_of_floats)
