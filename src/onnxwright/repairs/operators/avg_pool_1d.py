"""An average pool over the whole length as a mean: exporters take the sample's length for the kernel's."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators.whole_pool import twin_of


def _mean(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.mean(axes, keepdim=True)


TWIN = twin_of(1, "avg", _mean)
