"""`nanquantile` between two elements of what is sorted, NaN last: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.quantile import is_known, quantiles, rows_of


def _nanquantile(
    input: Tensor,  # noqa: A002 - torch's name
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    is_odd = torch.isnan(input)
    counts = rows_of(~is_odd, dim).to(input.dtype).sum(-1, keepdim=True)
    last = torch.where(is_odd, torch.full_like(input, torch.inf), input)
    found = quantiles(last, q, dim, counts, keepdim=keepdim, between=interpolation)
    is_empty = is_odd.all() if dim is None else is_odd.all(dim, keepdim=keepdim)
    return torch.where(is_empty, torch.full_like(found, torch.nan), found)


TWIN = Twin("nanquantile", ("torch.nanquantile", "torch.Tensor.nanquantile"), _nanquantile, is_known)
