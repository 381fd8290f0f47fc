"""`linspace` of one step as its start: the tracing exporter divides by the number of gaps, of which there is none."""

from __future__ import annotations

from typing import Any

import torch
from torch import SymInt, Tensor

from onnxwright.repairs.operators import Twin, is_number


def _linspace(start: Any, end: Any, steps: Any, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """Numbers from both ends to the middle, as PyTorch computes them."""
    dtype = dtype or torch.get_default_dtype()
    places = torch.arange(steps, device=device)
    gap = (end - start) / _least_one(steps - 1)
    is_left = places < (steps + 1) // 2
    return torch.where(is_left, start + gap * places, end - gap * (steps - 1 - places)).to(dtype)


def _least_one(count: Any) -> Any:
    if isinstance(count, Tensor):
        return count.clamp(min=1)
    return torch.sym_max(count, 1) if isinstance(count, SymInt) else max(count, 1)  # type: ignore[no-untyped-call]  # torch's


def _is_of_floats(
    start: object, end: object, steps: object, *, dtype: torch.dtype | None = None, device: object = None
) -> bool:
    return all(map(is_number, (start, end, steps))) and (dtype is None or dtype.is_floating_point)


TWIN = Twin("linspace", ("torch.linspace",), _linspace, _is_of_floats, is_taken=True)
