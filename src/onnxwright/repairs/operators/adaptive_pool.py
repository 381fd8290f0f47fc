"""Adaptive average pools as products with matrices of weights: exporters need the sizes, and keep the sample's.

Output `i` of `n` over a length `L` is the mean from `floor(i L / n)` to `ceil((i + 1) L / n)`, as in PyTorch's
`aten/src/ATen/native/AdaptivePooling.h`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _weights(x: Tensor, axis: int, count: int) -> Tensor:
    """The means of `count` stretches of an axis, as a matrix `[count, length]`."""
    at = torch.ones_like(x).cumsum(axis).transpose(axis, -1).reshape(-1, x.shape[axis])[0] - 1.0
    length = at[-1] + 1.0
    numbers = torch.arange(count, dtype=at.dtype, device=x.device)[:, None]
    begins, ends = torch.floor(numbers * length / count), torch.ceil((numbers + 1.0) * length / count)
    inside = ((at >= begins) & (at < ends)).to(x.dtype)
    return inside / inside.sum(-1, keepdim=True)


def _pool(x: Tensor, output_size: Any) -> Tensor:
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,) * (x.dim() - 2)
    pooled = x
    for axis, count in enumerate(sizes, start=x.dim() - len(sizes)):
        if count is not None:
            pooled = (pooled.transpose(axis, -1) @ _weights(pooled, axis, count).T).transpose(axis, -1)
    return pooled


def _is_fixed(x: Tensor, output_size: Any, **others: object) -> bool:
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,)
    is_counted = all(size is None or type(size) is int for size in sizes)
    return x.dim() > 2 and x.is_floating_point() and is_counted and not others and set(sizes) != {1}


TWIN = Twin(
    "adaptive_avg_pool", tuple(f"torch.nn.functional.adaptive_avg_pool{n}d" for n in (1, 2, 3)), _pool, _is_fixed
)
