"""`linalg.slogdet` of small matrices of a fixed size from the pivots: exporters have none."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.elimination import eliminated, is_small


def signed_logarithm(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the sign of each determinant, and the logarithm of its magnitude."""
    pivots = eliminated(matrix, matrix[..., :0])[1]
    return functools.reduce(torch.mul, map(torch.sign, pivots)), sum((one.abs().log() for one in pivots), pivots[0] * 0)


def _slogdet(A: Tensor) -> torch.return_types.slogdet:  # noqa: N803 - torch's name
    return torch.return_types.slogdet(signed_logarithm(A))


TWIN = Twin("slogdet", ("torch.slogdet", "torch.Tensor.slogdet", "torch.linalg.slogdet"), _slogdet, is_small)
