"""`isclose` as a comparison of the difference with its limit: the tracing exporter has none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.atan2 import are_real


def _is_close(
    input: Tensor,  # noqa: A002 - torch's name
    other: Tensor,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    apart, most = (input - other).abs(), atol + rtol * other.abs()
    close = (input == other) | ((apart <= most) & (apart < torch.inf))
    return close | (torch.isnan(input) & torch.isnan(other)) if equal_nan else close


TWIN = Twin("isclose", ("torch.isclose", "torch.Tensor.isclose"), _is_close, are_real)
