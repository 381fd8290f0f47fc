"""`view_as_real` of a pair of real tensors, that stands for a complex one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.pairs import Pair


def _view_as_real(x: Any) -> Tensor:
    return torch.stack([x.real, x.imag], -1)


def _is_pair(x: object) -> bool:
    return isinstance(x, Pair)


TWIN = Twin("view_as_real", ("torch.view_as_real",), _view_as_real, _is_pair, counts=lambda x: True)
