"""`sigmoid` by its formula: ONNX Runtime's own loses digits of small answers (half of them at -16)."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _sigmoid(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    return 1.0 / (1.0 + torch.exp(-input))


def _is_exact(input: Tensor) -> bool:  # noqa: A002 - torch's name
    return input.dtype in {torch.float32, torch.float64}


_PLACES = ("torch.sigmoid", "torch.Tensor.sigmoid", "torch.nn.functional.sigmoid", "torch.special.expit")

TWIN = Twin("sigmoid", _PLACES, _sigmoid, _is_exact, is_taken=True)
