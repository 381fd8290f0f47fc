"""`lgamma` by Stirling's series, in doubles: exporters have none.

A number below 8 is lifted by the recurrence, a negative one reflected (Abramowitz and Stegun, Handbook of Mathematical
Functions, 6.1.15, 6.1.17 and 6.1.41).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin

_LIFTED: Final = 8
_SERIES: Final = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def _lgamma(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    x = input.to(torch.float64)
    is_reflected = x < 0.5
    logarithm = _of_positive(torch.where(is_reflected, 1 - x, x))
    sine = torch.sin(math.pi * (x - torch.floor(x))).abs()
    sine = torch.where(x == torch.floor(x), torch.zeros_like(x), sine)
    reflected = math.log(math.pi) - torch.log(sine) - logarithm
    return torch.where(is_reflected, reflected, logarithm).to(input.dtype)


def _of_positive(x: Tensor) -> Tensor:
    product = torch.ones_like(x)
    for step in range(_LIFTED):
        product = product * torch.where(x < _LIFTED, x + step, torch.ones_like(x))
    lifted = torch.where(x < _LIFTED, x + _LIFTED, x)
    series, power = torch.zeros_like(x), 1 / lifted
    for factor in _SERIES:
        series, power = series + factor * power, power / (lifted * lifted)
    return (lifted - 0.5) * torch.log(lifted) - lifted + 0.5 * math.log(2 * math.pi) + series - torch.log(product)


def is_single(input: Tensor) -> bool:  # noqa: A002 - torch's name
    """Whether numbers are floats of no more digits than these series have."""
    return input.dtype in (torch.float32, torch.float16, torch.bfloat16)


TWIN = Twin("lgamma", ("torch.lgamma", "torch.Tensor.lgamma", "torch.special.gammaln"), _lgamma, is_single)
