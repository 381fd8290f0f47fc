"""`polar` as a pair of real tensors, from its length and angle: exporters have no complex numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.pairs import Pair, is_real


def _polar(abs: Tensor, angle: Tensor) -> Pair:  # noqa: A002 - torch's name
    return Pair(abs * torch.cos(angle), abs * torch.sin(angle))


TWIN = Twin("polar", ("torch.polar",), _polar, is_real)
