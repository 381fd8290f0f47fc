"""A max pool over the whole length as a maximum: exporters take the sample's length for the kernel's."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators.whole_pool import twin_of


def _greatest(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.amax(axes, keepdim=True)


TWIN = twin_of(1, "max", _greatest)
