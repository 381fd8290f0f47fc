"""`math.floor` of a part of a size, a tensor while it is traced: Python makes a number of it, which the graph keeps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.round import is_traced_size, made_whole


def _floor(x: Tensor) -> Any:
    return made_whole(x, torch.floor, math.floor)


TWIN = Twin("floor", ("torch.Tensor.__floor__",), _floor, is_traced_size, is_taken=True, is_of_sizes=True)
