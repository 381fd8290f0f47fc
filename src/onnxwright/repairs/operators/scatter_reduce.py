"""`scatter_reduce` of means, or without what the tensor itself holds: places reached begin at what changes nothing."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin

_NEUTRAL = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -math.inf, "amin": math.inf}


def scatter_reduce(
    input: Tensor,  # noqa: A002 - torch's name
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Returns what a tensor, or nothing, becomes with all that is scattered into it."""
    begun = input if include_self else input.scatter(dim, index, _neutral(reduce, input.dtype))
    if reduce != "mean":
        return begun.scatter_reduce(dim, index, src, reduce)
    counts = torch.full_like(input, float(include_self)).scatter_add(dim, index, torch.ones_like(src))
    return begun.scatter_add(dim, index, src) / counts.clamp(min=1)


def _neutral(reduce: str, dtype: torch.dtype) -> float:
    value = _NEUTRAL[reduce]
    if math.isinf(value) and not dtype.is_floating_point:
        return torch.iinfo(dtype).max if value > 0 else torch.iinfo(dtype).min
    return value


def _is_mean_or_without_self(*args: Any, include_self: bool = True, **kwargs: Any) -> bool:
    given = _TAKEN.bind(*args, **kwargs).arguments
    dtype, reduce = given["input"].dtype, given["reduce"]
    if reduce == "mean":
        return bool(dtype.is_floating_point)
    return not include_self and reduce in _NEUTRAL and dtype != torch.bool


_TAKEN = inspect.signature(scatter_reduce)
TWIN = Twin(
    "scatter_reduce", ("torch.scatter_reduce", "torch.Tensor.scatter_reduce"), scatter_reduce, _is_mean_or_without_self
)
