"""`atan2` by quadrants: exporters answer `-pi` for `atan2(0, -1)`, and NaN where both are 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def angle(y: Tensor, x: Tensor) -> Tensor:
    """Returns the angle of each point, from -pi to pi; 0 where there is none. A zero has no sign here."""
    is_upright = x == 0
    slope = torch.atan(y / torch.where(is_upright, torch.ones_like(x), x))
    whole = torch.where(y >= 0, torch.full_like(slope, math.pi), torch.full_like(slope, -math.pi))
    turned = torch.where(x < 0, slope + whole, slope)
    return torch.where(is_upright, torch.sign(y) * (math.pi / 2), turned)


def _atan2(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    return angle(input, other)


def are_real(input: Tensor, other: Tensor, *_: object, **__: object) -> bool:  # noqa: A002 - torch's name
    """Whether both are tensors of real numbers."""
    return input.is_floating_point() and other.is_floating_point()


_PLACES = tuple(f"{owner}.{name}" for owner in ("torch", "torch.Tensor") for name in ("atan2", "arctan2"))

TWIN = Twin("atan2", _PLACES, _atan2, are_real, is_taken=True)
