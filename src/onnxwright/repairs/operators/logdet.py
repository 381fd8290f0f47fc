"""`logdet` of small matrices of a fixed size from the pivots: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.elimination import is_small
from onnxwright.repairs.operators.slogdet import signed_logarithm


def _logdet(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    sign, logarithm = signed_logarithm(input)
    return torch.where(sign < 0, torch.full_like(logarithm, torch.nan), logarithm)


TWIN = Twin("logdet", ("torch.logdet", "torch.Tensor.logdet"), _logdet, is_small)
