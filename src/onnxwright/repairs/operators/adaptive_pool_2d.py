"""`adaptive_avg_pool2d` as products with matrices of weights: exporters need the sizes, and keep the sample's.

Output `i` of `n` over a length `L` is the mean from `floor(i L / n)` to `ceil((i + 1) L / n)`, as in PyTorch's
`aten/src/ATen/native/AdaptivePooling.h`. For finite numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def means(x: Tensor, axis: int, count: int) -> Tensor:
    """Takes the means of `count` stretches of an axis."""
    places = torch.ones_like(x, dtype=torch.int64).sum(axis, keepdim=True)
    length = places.amax()
    at = torch.arange(x.shape[axis], device=x.device)
    numbers = torch.arange(count, device=x.device)[:, None]
    inside = (at >= numbers * length // count) & (at < ((numbers + 1) * length + count - 1) // count)
    weights = inside.to(x.dtype)
    weights = weights / weights.sum(-1, keepdim=True)
    return (x.transpose(axis, -1) @ weights.T).transpose(axis, -1)


def pooled(x: Tensor, sizes: Sequence[int | None]) -> Tensor:
    """Pools the last axes, each to its size; None leaves one as it is."""
    for axis, count in enumerate(sizes, start=x.dim() - len(sizes)):
        x = x if count is None else means(x, axis, count)
    return x


def is_fixed(x: Tensor, sizes: Sequence[Any]) -> bool:
    """Whether the sizes are plain numbers, and not one, which is a mean that exporters know."""
    is_counted = all(size is None or type(size) is int for size in sizes)
    return x.is_floating_point() and x.numel() > 0 and is_counted and set(sizes) != {1}


def _sizes(output_size: Any) -> Sequence[Any]:
    return output_size if isinstance(output_size, tuple | list) else (output_size,) * 2


def _pool(input: Tensor, output_size: Any) -> Tensor:  # noqa: A002 - torch's name
    return pooled(input, _sizes(output_size))


TWIN = Twin(
    "adaptive_avg_pool2d",
    ("torch.nn.functional.adaptive_avg_pool2d",),
    _pool,
    lambda input, output_size: is_fixed(input, _sizes(output_size)),  # noqa: A006 - torch's name
)
