"""`cholesky_solve` as two triangular systems: exporters have none."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.solve_triangular import inverse


def _solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:  # noqa: N803 - torch's names
    lower = inverse(L.transpose(-2, -1) if upper else L, is_unit=False)
    return lower.transpose(-2, -1) @ (lower @ B)


TWIN = Twin("cholesky_solve", ("torch.cholesky_solve", "torch.Tensor.cholesky_solve"), _solve)
