"""`quantile` between two elements of what is sorted: exporters have none."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin

_INTERPOLATIONS: Final = ("linear", "lower", "higher", "nearest", "midpoint")


def rows_of(x: Tensor, dim: int | None) -> Tensor:
    """Returns a tensor with `dim` last, or flat where there is none."""
    return x.reshape(-1) if dim is None else x.movedim(dim, -1)


def quantiles(x: Tensor, q: float | Tensor, dim: int | None, counts: Tensor, *, keepdim: bool, between: str) -> Tensor:
    """Returns the quantiles of the least elements of each row along `dim`, of which `counts` says how many there are.

    `counts` has one for each row, with `dim` last and of size 1; `q` counts first in the answer where it has an axis.
    """
    shares = torch.as_tensor(q, dtype=x.dtype, device=x.device)
    found = _at(rows_of(x, dim).sort(-1).values, shares.reshape(-1) * (counts - 1).clamp(min=0), between).movedim(-1, 0)
    if keepdim and dim is None:
        found = found.reshape([-1] + [1] * x.dim())
    elif keepdim and dim is not None:
        found = found.unsqueeze(-1).movedim(-1, dim % x.dim() + 1)
    return found if shares.dim() else found[0]


def _at(ordered: Tensor, ranks: Tensor, between: str) -> Tensor:
    """The elements at ranks, which may lie between two."""
    low, high = ranks.floor(), ranks.ceil()
    if between == "nearest":
        low = high = ranks.round()
    low, high = (high if between == "higher" else low), (low if between == "lower" else high)
    below, above = (ordered.gather(-1, one.to(torch.int64)) for one in (low, high))
    weight = torch.full_like(ranks, 0.5) if between == "midpoint" else ranks - low
    return torch.where(low == high, below, torch.lerp(below, above, weight))


def _quantile(
    input: Tensor,  # noqa: A002 - torch's name
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    counts = torch.ones_like(rows_of(input, dim)).sum(-1, keepdim=True)
    found = quantiles(input, q, dim, counts, keepdim=keepdim, between=interpolation)
    is_odd = torch.isnan(input).any() if dim is None else torch.isnan(input).any(dim, keepdim=keepdim)
    return torch.where(is_odd, torch.full_like(found, torch.nan), found)


def is_known(input: Tensor, *_: object, interpolation: str = "linear", **__: object) -> bool:  # noqa: A002 - torch's name
    """Whether these quantiles lie between two numbers in a way that is known here."""
    return interpolation in _INTERPOLATIONS and input.is_floating_point() and input.dim() > 0


TWIN = Twin("quantile", ("torch.quantile", "torch.Tensor.quantile"), _quantile, is_known)
