"""`log1p` that keeps the digits of small numbers: exporters write the logarithm of one and more, which loses them.

W. Kahan's formula, as the HP-15C Advanced Functions Handbook (1982) has it: `log(u) x / (u - 1)` with `u = 1 + x`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def log1p(x: Tensor) -> Tensor:
    """Returns the logarithm of one and more."""
    more = 1.0 + x
    is_lost = (more == 1.0) | (x == torch.inf)
    return torch.where(is_lost, x, torch.log(more) * (x / torch.where(is_lost, torch.ones_like(x), more - 1.0)))


def _is_exact(x: Tensor) -> bool:
    return x.dtype in {torch.float32, torch.float64}


TWIN = Twin("log1p", ("torch.log1p", "torch.Tensor.log1p", "torch.special.log1p"), log1p, _is_exact, is_taken=True)
