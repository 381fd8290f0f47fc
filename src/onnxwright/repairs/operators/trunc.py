"""Rounding towards zero, which the TorchScript exporter has no symbol for, by `floor` and `ceil`."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _trunc(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    return torch.where(input < 0, torch.ceil(input), torch.floor(input)) if input.is_floating_point() else input


TWIN = Twin("trunc", ("torch.trunc", "torch.fix", "torch.Tensor.trunc", "torch.Tensor.fix"), _trunc)
