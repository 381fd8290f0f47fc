"""`one_hot` as a comparison with each class: PyTorch reads the values to check them, which exporters can't follow."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _one_hot(tensor: Tensor, num_classes: int) -> Tensor:
    return (tensor.unsqueeze(-1) == torch.arange(num_classes, device=tensor.device)).to(torch.int64)


def _is_counted(tensor: object, num_classes: int) -> bool:
    return num_classes > 0


TWIN = Twin("one_hot", ("torch.nn.functional.one_hot",), _one_hot, _is_counted)
