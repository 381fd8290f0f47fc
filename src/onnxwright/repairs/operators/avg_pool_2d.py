"""An average pool over the whole image as a mean: exporters take the sample's size for the kernel's."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators.whole_pool import twin_of


def _mean(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.mean(axes, keepdim=True)


TWIN = twin_of(2, "avg", _mean)
