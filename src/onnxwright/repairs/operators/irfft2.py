"""`irfft2` as products with cosines and sines: exporters have none."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.fft import transformed
from onnxwright.repairs.operators.irfft import is_pair, whole


def _irfft2(input: Any, s: Any = None, dim: tuple[int, int] = (-2, -1), norm: str | None = None) -> Tensor:  # noqa: A002
    other, last = dim
    size = 2 * (input.shape[last] - 1) if s is None else s[1]
    return whole(transformed(input, other, norm, is_inverse=True), size, last, norm)


def _keeps_rows(input: Any, s: Any = None, dim: tuple[int, int] = (-2, -1), norm: str | None = None) -> bool:  # noqa: A002
    return s is None or bool(s[0] == input.shape[dim[0]])


TWIN = Twin(
    "irfft2",
    ("torch.fft.irfft2",),
    _irfft2,
    lambda input, *args, **kwargs: is_pair(input) and _keeps_rows(input, *args, **kwargs),  # noqa: A006
    counts=_keeps_rows,
)
