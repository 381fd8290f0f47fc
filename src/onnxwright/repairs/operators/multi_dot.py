"""`linalg.multi_dot` as products from left to right: the order that costs least depends on sizes, which it freezes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _multiplied(tensors: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.matmul, tensors)


TWIN = Twin("multi_dot", ("torch.linalg.multi_dot",), _multiplied)
