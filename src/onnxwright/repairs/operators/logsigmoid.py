"""`logsigmoid` that keeps the digits of answers near zero: exporters write the logarithm of a sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.log1p import log1p


def _logsigmoid(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    return input.clamp(max=0.0) - log1p(torch.exp(-input.abs()))


def _is_exact(input: Tensor) -> bool:  # noqa: A002 - torch's name
    return input.dtype in {torch.float32, torch.float64}


TWIN = Twin("logsigmoid", ("torch.nn.functional.logsigmoid",), _logsigmoid, _is_exact, is_taken=True)
