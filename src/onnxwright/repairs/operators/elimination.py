"""Linear systems by elimination with pivots (Gauss-Jordan), row by row, for matrices of a fixed small size."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

_LARGEST: Final = 32


def is_small(matrix: Tensor, *_: object, **__: object) -> bool:
    """Whether a matrix, or a batch of such, has few rows in a known number."""
    if not matrix.is_floating_point() or matrix.dim() < 2:
        return False
    rows: Any = matrix.shape[-1]
    return not isinstance(rows, torch.SymInt) and int(rows) <= _LARGEST


def eliminated(matrix: Tensor, right: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Returns the solution of `matrix @ x = right`, and the pivots, of which the determinant is the product.

    Each step takes the row with the greatest number on its way, as LAPACK does; a row that comes from elsewhere turns
    the sign of its pivot.
    """
    size = int(matrix.shape[-1])
    rows = torch.arange(size, device=matrix.device)[:, None]
    both, pivots = torch.cat([matrix, right], -1), []
    for step in range(size):
        column = both[..., step].abs()
        chosen = torch.where(rows[:, 0] >= step, column, torch.full_like(column, -1.0)).argmax(-1)[..., None, None]
        upper = both[..., step : step + 1, :]
        found = (both * (rows == chosen).to(both.dtype)).sum(-2, keepdim=True)
        both = torch.where(rows == step, found, torch.where(rows == chosen, upper, both))
        pivot = found[..., step : step + 1]
        pivots.append(torch.where(chosen == step, pivot, -pivot)[..., 0, 0])
        row = found / pivot
        both = torch.where(rows == step, row, both - both[..., step : step + 1] * row)
    return both[..., size:], pivots


def identity(matrix: Tensor) -> Tensor:
    """Returns a unit matrix for each matrix of a batch."""
    return torch.eye(int(matrix.shape[-1]), dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
