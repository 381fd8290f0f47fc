"""`allclose` as a comparison: compiled, as where it ends a loop, it has no ONNX form."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:  # noqa: A002
    apart = (input - other).abs()
    is_close = (input == other) | ((apart <= atol + rtol * other.abs()) & (apart < float("inf")))
    is_both_nan = input.isnan() & other.isnan()
    return bool(torch.all((is_close | is_both_nan) if equal_nan else is_close))


TWIN = Twin("allclose", ("torch.allclose",), _allclose, is_compiled=True)
