"""`cholesky_inverse` as the product of a triangular inverse with itself: exporters have none."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.solve_triangular import inverse


def _inverse(L: Tensor, upper: bool = False) -> Tensor:  # noqa: N803 - torch's name
    lower = inverse(L.transpose(-2, -1) if upper else L, is_unit=False)
    return lower.transpose(-2, -1) @ lower


TWIN = Twin("cholesky_inverse", ("torch.cholesky_inverse", "torch.Tensor.cholesky_inverse"), _inverse)
