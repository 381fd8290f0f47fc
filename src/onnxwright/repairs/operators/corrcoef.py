"""`corrcoef` as covariances beside the deviations of both: the tracing exporter has none."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.cov import cov


def _corrcoef(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    found = cov(input)
    if input.dim() < 2:
        return found / found
    apart = found.diagonal().sqrt()
    return (found / apart[:, None] / apart[None, :]).clamp(-1.0, 1.0)


def _is_float(input: Tensor) -> bool:  # noqa: A002 - torch's name
    return input.is_floating_point() and input.dim() <= 2


TWIN = Twin("corrcoef", ("torch.corrcoef", "torch.Tensor.corrcoef"), _corrcoef, _is_float)
