"""`amax` over the whole tensor with all axes named: without any, it has no ONNX form."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _amax(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    return input.reshape(-1).amax(0)


TWIN = Twin("amax", ("torch.amax", "torch.Tensor.amax"), _amax)
