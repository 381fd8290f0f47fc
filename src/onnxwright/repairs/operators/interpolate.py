"""`interpolate` with antialiasing as two products with the matrices that resample each axis."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from onnxwright.repairs.operators import Twin

_TAKEN: Final = inspect.signature(functional.interpolate)
Filter = Callable[[Tensor], Tensor]


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """The filter of Keys (1981) with a = -0.5, as PyTorch has it when it antialiases."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


_FILTERS: dict[str, tuple[Filter, float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
"""Each with how far it reaches, in pixels of the output."""


def _interpolate(
    input: Tensor,  # noqa: A002 - torch's name
    size: int | Sequence[int],
    scale_factor: object = None,
    mode: str = "nearest",
    *_: object,
    **__: object,
) -> Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    rows = _resampling(input.shape[-2], height, mode).to(input)
    columns = _resampling(input.shape[-1], width, mode).to(input)
    return rows @ input @ columns.transpose(0, 1)


def _resampling(taken: int, made: int, mode: str) -> Tensor:
    """What each pixel of the input (second axis) adds to each of the output (first)."""
    weigh, reach = _FILTERS[mode]
    scale = _counted(taken)[-1:].to(torch.float64) / _counted(made)[-1:]
    stretch = scale.clamp(min=1.0)
    center = (_counted(made)[:, None] - 0.5) * scale
    place = _counted(taken)[None].to(torch.float64)
    begin, end = ((center + side * reach * stretch + 0.5).floor() for side in (-1.0, 1.0))
    is_reached = (place > begin) & (place <= end)
    weights = torch.where(is_reached, weigh((place - 0.5 - center) / stretch), torch.zeros_like(place))
    return weights / weights.sum(1, keepdim=True)


def _counted(size: int) -> Tensor:
    """The numbers from 1 to a size."""
    return torch.arange(size) + 1


def _is_antialiased(*args: Any, **kwargs: Any) -> bool:
    given = _TAKEN.bind(*args, **kwargs).arguments
    is_sized = given.get("size") is not None and given.get("scale_factor") is None and not given.get("align_corners")
    return bool(given.get("antialias")) and is_sized and given["input"].dim() == 4 and given.get("mode") in _FILTERS


TWIN = Twin("interpolate", ("torch.nn.functional.interpolate",), _interpolate, _is_antialiased)
