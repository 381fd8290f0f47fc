"""Transposed convolutions with computed weights of a fixed shape: the tracing exporter must know it, and loses it."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.convolution import Several, each, fixed, is_computed


def _transposed(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Several = 1,
    padding: Several = 0,
    output_padding: Several = 0,
    groups: int = 1,
    dilation: Several = 1,
) -> Tensor:
    rank = weight.dim() - 2
    stride, padding, dilation, more = (each(one, rank) for one in (stride, padding, dilation, output_padding))
    return torch.convolution(input, fixed(weight), bias, stride, padding, dilation, True, more, int(groups))


_PLACES = tuple(f"{owner}.conv_transpose{rank}d" for owner in ("torch.nn.functional", "torch") for rank in (1, 2, 3))

TWIN = Twin("conv_transpose", _PLACES, _transposed, is_computed, is_taken=True)
