"""`cov` as the product of what is left of rows once their means are taken off: the tracing exporter has none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def cov(input: Tensor, *, correction: int = 1) -> Tensor:  # noqa: A002 - torch's name
    """Returns the covariances of rows; of a single row, its variance without axes."""
    rows = input if input.dim() == 2 else input.reshape(1, -1)
    left = rows - rows.mean(1, keepdim=True)
    count = torch.ones_like(rows[0]).sum() - correction
    found = left @ left.transpose(0, 1) / count.clamp(min=0.0)
    return found if input.dim() == 2 else found.reshape(())


def _is_float(input: Tensor, *, correction: int = 1) -> bool:  # noqa: A002 - torch's name
    return input.is_floating_point() and input.dim() <= 2


TWIN = Twin("cov", ("torch.cov", "torch.Tensor.cov"), cov, _is_float)
