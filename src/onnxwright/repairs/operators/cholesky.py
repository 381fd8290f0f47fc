"""The Cholesky factor of small matrices of a fixed size, column by column: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.elimination import is_small


def factor(matrix: Tensor) -> Tensor:
    """Returns the lower triangular `L` with `L @ L.T` a matrix (Golub and Van Loan, Matrix Computations, 4.2.5)."""
    size = int(matrix.shape[-1])
    rows = torch.arange(size, device=matrix.device)
    rest, columns = matrix, []
    for step in range(size):
        column = rest[..., step] / rest[..., step, step, None].sqrt()
        column = torch.where(rows >= step, column, torch.zeros_like(column))
        rest = rest - column[..., :, None] * column[..., None, :]
        columns.append(column)
    return torch.stack(columns, -1)


def _cholesky(input: Tensor, *, upper: bool = False) -> Tensor:  # noqa: A002 - torch's name
    return factor(input).transpose(-2, -1) if upper else factor(input)


TWIN = Twin("cholesky", ("torch.linalg.cholesky", "torch.cholesky"), _cholesky, is_small)
