"""`erfinv` by two polynomials: exporters have none.

Those of M. Giles, Approximating the erfinv function (GPU Computing Gems, 2011), for single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.lgamma import is_single

_MIDDLE: Final = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503),
    *(-0.00417768164, 0.246640727, 1.50140941),
)
_TAIL: Final = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613),
    *(0.00943887047, 1.00167406, 2.83297682),
)


def _erfinv(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    x = input.to(torch.float64)
    w = -torch.log((1 - x) * (1 + x))
    is_tail = w >= 5
    factor = torch.where(is_tail, _polynomial(_TAIL, torch.sqrt(w.clamp(min=0)) - 3), _polynomial(_MIDDLE, w - 2.5))
    return torch.where(x.abs() == 1, x * torch.inf, factor * x).to(input.dtype)


def _polynomial(factors: Sequence[float], x: Tensor) -> Tensor:
    answer = torch.full_like(x, factors[0])
    for factor in factors[1:]:
        answer = factor + answer * x
    return answer


TWIN = Twin("erfinv", ("torch.erfinv", "torch.Tensor.erfinv", "torch.special.erfinv"), _erfinv, is_single)
