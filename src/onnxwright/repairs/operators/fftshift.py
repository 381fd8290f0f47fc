"""`fftshift` as two pieces in the other order: exporters lack it, or take no sizes for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin, axes_of, sliced


def _shifted(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:  # noqa: A002 - torch's name
    return turned(input, dim, 1)


def turned(values: Tensor, dim: int | Sequence[int] | None, more: int) -> Tensor:
    """Begins some axes, or all, after their first half, of which `more` is one element more where they are odd."""
    for axis in axes_of(values, dim):
        half: Any = (values.shape[axis] + more) // 2
        values = torch.cat([sliced(values, axis, half, None), sliced(values, axis, None, half)], axis)
    return values


TWIN = Twin("fftshift", ("torch.fft.fftshift",), _shifted)
