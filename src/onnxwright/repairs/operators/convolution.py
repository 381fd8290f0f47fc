"""Convolutions with computed weights of a fixed shape: the tracing exporter must know the shape, and loses it.

So do upsamplers whose filter is expanded to the channels of the input (`filter.expand(x.shape[1], -1, -1)`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onnxwright.repairs.operators import Twin, is_number

Several = int | Sequence[int]


def _convolve(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Several = 1,
    padding: Several = 0,
    dilation: Several = 1,
    groups: int = 1,
) -> Tensor:
    rank = weight.dim() - 2
    stride, padding, dilation = (each(one, rank) for one in (stride, padding, dilation))
    return torch.convolution(input, fixed(weight), bias, stride, padding, dilation, False, [0] * rank, int(groups))


def is_computed(input: Tensor, weight: Tensor, *others: object, **named: object) -> bool:  # noqa: A002
    """Whether weights come from elsewhere than a parameter, and a batch is convolved with numbers as they are."""
    is_batch = input.dim() == weight.dim()
    return (
        is_batch
        and not isinstance(weight, nn.Parameter)
        and not any(isinstance(one, str) for one in (*others, *named.values()))
    )


def fixed(weight: Tensor) -> Tensor:
    """Returns weights in the shape that they have, as numbers."""
    return weight.reshape([int(size) for size in weight.shape])


def each(number: Several, rank: int) -> list[int]:
    """Returns a number for each axis; one that was computed from sizes while tracing is a tensor."""
    return [int(number)] * rank if is_number(number) else [int(one) for one in number]  # type: ignore[arg-type, union-attr]


_PLACES = tuple(f"{owner}.conv{rank}d" for owner in ("torch.nn.functional", "torch") for rank in (1, 2, 3))

TWIN = Twin("convolution", _PLACES, _convolve, is_computed, is_taken=True)
