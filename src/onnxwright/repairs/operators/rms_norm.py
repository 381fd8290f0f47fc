"""`rms_norm` as a division by the root of the mean of squares: the tracing exporter has none below opset 23."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _normalize(
    input: Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    axes = list(range(-len(normalized_shape), 0))
    least = torch.finfo(input.dtype).eps if eps is None else eps
    scaled = input * torch.rsqrt(input.square().mean(axes, keepdim=True) + least)
    return scaled if weight is None else scaled * weight


def _is_full(input: Tensor, *others: object, **named: object) -> bool:  # noqa: A002
    """Whether PyTorch computes it without rounding to a shorter type on the way."""
    return input.dtype in (torch.float32, torch.float64)


TWIN = Twin("rms_norm", ("torch.rms_norm", "torch.nn.functional.rms_norm"), _normalize, _is_full)
