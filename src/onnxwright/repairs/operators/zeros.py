"""`zeros` of complex numbers as a pair of real tensors, which parts of a spectrum are written into."""

from __future__ import annotations

from typing import Any

import torch

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.pairs import Pair


def _zeros(*size: Any, dtype: torch.dtype | None = None, **others: Any) -> Pair:
    is_double = dtype in (torch.complex128, torch.cdouble)
    kind = torch.float64 if is_double else torch.float32
    return Pair(torch.zeros(*size, dtype=kind, **others), torch.zeros(*size, dtype=kind, **others))


def _is_complex(*_: Any, dtype: torch.dtype | None = None, out: Any = None, **__: Any) -> bool:
    return dtype is not None and dtype.is_complex and out is None


TWIN = Twin("zeros", ("torch.zeros",), _zeros, _is_complex)
