"""The inverse of small matrices of a fixed size by elimination: exporters have none."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.elimination import eliminated, identity, is_small


def _inverse(A: Tensor) -> Tensor:  # noqa: N803 - torch's name
    return eliminated(A, identity(A))[0]


TWIN = Twin("inv", ("torch.linalg.inv", "torch.inverse", "torch.Tensor.inverse"), _inverse, is_small)
