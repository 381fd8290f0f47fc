"""`i0`, the modified Bessel function that Kaiser's window is made of, by two polynomials: exporters have none.

Those of Abramowitz and Stegun, Handbook of Mathematical Functions, 9.8.1 and 9.8.2, for single precision.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.lgamma import is_single

_NEAR: Final = (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0)
_FAR: Final = (
    *(0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565),
    *(0.00225319, 0.01328592, 0.39894228),
)


def _i0(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    x = input.to(torch.float64).abs()
    near, far = torch.full_like(x, _NEAR[0]), torch.full_like(x, _FAR[0])
    for factor in _NEAR[1:]:
        near = factor + near * (x / 3.75) ** 2
    for factor in _FAR[1:]:
        far = factor + far * 3.75 / x.clamp(min=3.75)
    grown = torch.exp(input.abs()).to(torch.float64)  # PyTorch's is infinite where this is
    far = far * grown / torch.sqrt(x.clamp(min=3.75))
    return torch.where(x < 3.75, near, far).to(input.dtype)


TWIN = Twin("i0", ("torch.i0", "torch.Tensor.i0", "torch.special.i0"), _i0, is_single)
