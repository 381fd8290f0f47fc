"""`expm1` by a hyperbolic tangent, which loses no digits near zero: the tracing exporter has none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _expm1(x: Tensor) -> Tensor:
    """Returns `tanh(x / 2) (exp(x) + 1)`, which is `exp(x) - 1`."""
    return torch.tanh(x / 2) * (torch.exp(x) + 1)


def _is_real(x: Tensor) -> bool:
    return x.is_floating_point()


_PLACES = ("torch.expm1", "torch.Tensor.expm1", "torch.special.expm1")

TWIN = Twin("expm1", _PLACES, _expm1, _is_real)
