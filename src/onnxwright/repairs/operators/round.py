"""`round` of a size, a tensor while it is traced: tensors lack it. Rounds half to even, as Python does."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _round(x: Tensor, digits: int | None = None) -> Tensor:
    return x.round(decimals=digits) if digits is not None else x.round().to(torch.int64)


TWIN = Twin("round", ("torch.Tensor.__round__",), _round, told="__round__")
