"""Whole division from the remainder, as PyTorch rounds it: exporters round floats down, and whole numbers towards zero.

Half of a difference of sizes, `(after - before) // 2`, is one more than it should be where the difference is negative.

`0.3 // 0.1` is 2 and not 3, since 0.3 is less than three times 0.1 in floats. The steps are those of PyTorch's
`c10/util/generic_math.h`, `div_floor_floating`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _divide(x: Tensor, other: Tensor | float) -> Tensor:
    if not x.is_floating_point():
        return torch.div(x - torch.remainder(x, other), other, rounding_mode="trunc")
    remainder = torch.fmod(x, other)
    quotient = (x - remainder) / other
    is_below = (remainder != 0) & ((remainder < 0) != (torch.as_tensor(other) < 0))
    quotient = quotient - is_below.to(quotient.dtype)
    whole = torch.floor(quotient)
    rounded = whole + (quotient - whole > 0.5).to(whole.dtype)
    return torch.where(torch.as_tensor(other) == 0, x / other, rounded)


def _is_rounded(x: object, other: object, **others: object) -> bool:
    if not isinstance(x, Tensor) or others:
        return False
    is_whole = not x.is_floating_point() and x.dtype != torch.bool and isinstance(other, int) and other > 0
    return is_whole or (x.is_floating_point() and isinstance(other, Tensor | float | int))


_PLACES = ("torch.floor_divide", "torch.Tensor.floor_divide", "torch.Tensor.__floordiv__")
TWIN = Twin("floor_divide", _PLACES, _divide, _is_rounded, is_taken=True, is_of_sizes=True)
