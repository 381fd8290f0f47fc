"""Adaptive pools as products with matrices of weights, or as maxima over a mask: exporters keep the sample's sizes.

Answer `i` of `n` over a length `L` is that of the places from `floor(i L / n)` to `ceil((i + 1) L / n)`, as in
PyTorch's `aten/src/ATen/native/AdaptivePooling.h`. For finite numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin

Pool = Callable[[Tensor, int, Any], Tensor]
"""Pools one axis of a tensor into so many stretches."""


def mean_twin(rank: int, *places: str) -> Twin:
    """Returns the twin of the pool that takes means, over so many of the last axes."""

    def compute(input: Tensor, output_size: Any) -> Tensor:  # noqa: A002 - torch's name
        return _pooled(input, _sizes(output_size, rank), _means)

    def applies(input: Tensor, output_size: Any) -> bool:  # noqa: A002 - torch's name
        return _is_several(input, _sizes(output_size, rank))

    return Twin(f"adaptive_avg_pool{rank}d", places, compute, applies)


def greatest_twin(rank: int, *places: str) -> Twin:
    """Returns the twin of the pool that takes maxima, over so many of the last axes, unless it is asked for places."""

    def compute(input: Tensor, output_size: Any, return_indices: object = False) -> Tensor:  # noqa: A002 - torch's name
        return _pooled(input, _sizes(output_size, rank), _maxima)

    def applies(input: Tensor, output_size: Any, return_indices: object = False) -> bool:  # noqa: A002 - torch's name
        return not return_indices and _is_several(input, _sizes(output_size, rank))

    return Twin(f"adaptive_max_pool{rank}d", places, compute, applies)


def _pooled(x: Tensor, sizes: Sequence[Any], pool: Pool) -> Tensor:
    """Pools the last axes, each to its size; None leaves one as it is."""
    for axis, count in enumerate(sizes, start=x.dim() - len(sizes)):
        x = x if count is None else pool(x, axis, count)
    return x


def _means(x: Tensor, axis: int, count: Any) -> Tensor:
    weights = _stretches(x, axis, count).to(x.dtype)
    weights = weights / weights.sum(-1, keepdim=True)
    return (x.transpose(axis, -1) @ weights.T).transpose(axis, -1)


def _maxima(x: Tensor, axis: int, count: Any) -> Tensor:
    rows = x.transpose(axis, -1).unsqueeze(-2)
    least = torch.full_like(rows, -torch.inf)
    return torch.where(_stretches(x, axis, count), rows, least).amax(-1).transpose(axis, -1)


def _stretches(x: Tensor, axis: int, count: Any) -> Tensor:
    """Which places of an axis (second) lie in which of `count` stretches of it (first)."""
    places = torch.ones_like(x, dtype=torch.int64).sum(axis, keepdim=True)
    length = places.amax(tuple(range(x.dim())))
    count = count.to(torch.int64) if isinstance(count, Tensor) else count
    at = torch.arange(x.shape[axis], device=x.device)
    numbers = torch.arange(count, device=x.device)[:, None]
    ends: Tensor = ((numbers + 1) * length + count - 1) // count
    inside: Tensor = (at >= numbers * length // count) & (at < ends)
    return inside


def _is_several(x: Tensor, sizes: Sequence[Any]) -> bool:
    """Whether numbers are pooled, and not to one, which exporters know."""
    is_one = all(type(size) is int and size == 1 for size in sizes)
    return x.is_floating_point() and bool(x.numel() > 0) and not is_one


def _sizes(output_size: Any, rank: int) -> Sequence[Any]:
    """A size for each axis that is pooled."""
    return output_size if isinstance(output_size, tuple | list) else (output_size,) * rank
