"""`digamma` by its asymptotic series, in doubles: exporters have none.

A number below 8 is lifted by the recurrence, a negative one reflected (Abramowitz and Stegun, Handbook of Mathematical
Functions, 6.3.5, 6.3.7 and 6.3.18).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.lgamma import is_single

_LIFTED: Final = 8
_SERIES: Final = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132)


def _digamma(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    x = input.to(torch.float64)
    is_reflected = x < 0
    answer = _of_positive(torch.where(is_reflected, 1 - x, x))
    part = math.pi * (x - torch.floor(x))
    reflected = answer - math.pi * torch.cos(part) / torch.sin(part)
    whole = torch.full_like(x, torch.nan)
    reflected = torch.where(x == torch.floor(x), whole, reflected)
    found = torch.where(is_reflected, reflected, answer)
    return torch.where(x == 0, -1 / input.to(torch.float64), found).to(input.dtype)


def _of_positive(x: Tensor) -> Tensor:
    lifts = torch.zeros_like(x)
    for step in range(_LIFTED):
        lifts = lifts + torch.where(x < _LIFTED, 1 / (x + step), torch.zeros_like(x))
    lifted = torch.where(x < _LIFTED, x + _LIFTED, x)
    square = 1 / (lifted * lifted)
    series, power = torch.log(lifted) - 0.5 / lifted, square
    for factor in _SERIES:
        series, power = series + factor * power, power * square
    return series - lifts


_PLACES = ("torch.digamma", "torch.Tensor.digamma", "torch.special.digamma", "torch.special.psi")

TWIN = Twin("digamma", _PLACES, _digamma, is_single)
