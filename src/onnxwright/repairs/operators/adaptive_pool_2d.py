"""`adaptive_avg_pool2d` as products with matrices of weights: exporters need the sizes, and keep the sample's.

Output `i` of `n` over a length `L` is the mean from `floor(i L / n)` to `ceil((i + 1) L / n)`, as in PyTorch's
`aten/src/ATen/native/AdaptivePooling.h`. For finite numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def stretches(x: Tensor, axis: int, count: Any) -> Tensor:
    """Returns which places of an axis (second) lie in which of `count` stretches of it (first)."""
    places = torch.ones_like(x, dtype=torch.int64).sum(axis, keepdim=True)
    length = places.amax(tuple(range(x.dim())))
    count = count.to(torch.int64) if isinstance(count, Tensor) else count
    at = torch.arange(x.shape[axis], device=x.device)
    numbers = torch.arange(count, device=x.device)[:, None]
    ends: Tensor = ((numbers + 1) * length + count - 1) // count
    inside: Tensor = (at >= numbers * length // count) & (at < ends)
    return inside


def means(x: Tensor, axis: int, count: Any) -> Tensor:
    """Takes the means of `count` stretches of an axis."""
    weights = stretches(x, axis, count).to(x.dtype)
    weights = weights / weights.sum(-1, keepdim=True)
    return (x.transpose(axis, -1) @ weights.T).transpose(axis, -1)


def pooled(x: Tensor, sizes: Sequence[Any], pool: Callable[[Tensor, int, Any], Tensor] = means) -> Tensor:
    """Pools the last axes, each to its size; None leaves one as it is."""
    for axis, count in enumerate(sizes, start=x.dim() - len(sizes)):
        x = x if count is None else pool(x, axis, count)
    return x


def is_several(x: Tensor, sizes: Sequence[Any]) -> bool:
    """Whether numbers are pooled, and not to one, which exporters know."""
    is_one = all(type(size) is int and size == 1 for size in sizes)
    return x.is_floating_point() and bool(x.numel() > 0) and not is_one


def sizes_of(output_size: Any, rank: int) -> Sequence[Any]:
    """Returns a size for each axis that is pooled."""
    return output_size if isinstance(output_size, tuple | list) else (output_size,) * rank


def _pool(input: Tensor, output_size: Any) -> Tensor:  # noqa: A002 - torch's name
    return pooled(input, sizes_of(output_size, 2))


TWIN = Twin(
    "adaptive_avg_pool2d",
    ("torch.nn.functional.adaptive_avg_pool2d",),
    _pool,
    lambda input, output_size: is_several(input, sizes_of(output_size, 2)),  # noqa: A006 - torch's name
)
