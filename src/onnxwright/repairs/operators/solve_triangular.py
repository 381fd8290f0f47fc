"""`linalg.solve_triangular` as a product with the inverse, which is put together from the diagonal, block by block."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin

_LARGEST: Final = 1024


def _solve_triangular(
    input: Tensor,  # noqa: A002 - torch's name
    B: Tensor,  # noqa: N803 - torch's name
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Tensor:
    lower = input.transpose(-2, -1) if upper else input
    inverted = inverse(lower, is_unit=unitriangular)
    inverted = inverted.transpose(-2, -1) if upper else inverted
    return inverted @ B if left else B @ inverted


def inverse(lower: Tensor, *, is_unit: bool) -> Tensor:
    """Returns the inverse of a lower triangular matrix (..., n, n): in two, four, eight ... rows at a time.

    Where `[[A, 0], [C, D]]` has the inverses of `A` and `D` on its diagonal, `-D⁻¹ C A⁻¹` stands below (Golub and Van
    Loan, Matrix Computations, 3.1.4).
    """
    size = lower.shape[-1]
    place = torch.arange(size)
    diagonal = torch.ones_like(lower[..., 0]) if is_unit else 1 / lower.diagonal(dim1=-2, dim2=-1)
    inverse = torch.eye(size).to(lower) * diagonal.unsqueeze(-2)
    rows = 1
    while rows < _most(size):
        block, pair = place // rows, place // (2 * rows)
        is_below = (pair[:, None] == pair) & (block[:, None] > block)
        below = torch.where(is_below, lower, torch.zeros_like(lower))
        inverse = inverse - inverse @ below @ inverse
        rows *= 2
    return inverse


def _most(size: Any) -> int:
    """The largest size that counts: of a symbolic one, which the export is then told."""
    if isinstance(size, torch.SymInt):
        torch._check(size <= _LARGEST)  # type: ignore[no-untyped-call]
        return _LARGEST
    return int(size)


def _is_new(*_: object, out: object = None, **__: object) -> bool:
    return out is None


TWIN = Twin("solve_triangular", ("torch.linalg.solve_triangular",), _solve_triangular, _is_new)
