"""`allclose` as a comparison: compiled, as where it ends a loop, it has no ONNX form. For numbers without NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:  # noqa: A002
    return bool(torch.all((input - other).abs() <= atol + rtol * other.abs()))


TWIN = Twin("allclose", ("torch.allclose",), _allclose, is_compiled=True)
