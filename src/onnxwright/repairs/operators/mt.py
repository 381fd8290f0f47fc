"""`x.mT`, the transposed matrices of a batch, as `transpose`: the tracing exporter has no form of the attribute."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _transposed(x: Tensor) -> Tensor:
    return x.transpose(-2, -1)


TWIN = Twin("mT", ("torch.Tensor.mT",), _transposed, told="'aten::mT'")
