"""Windows of `Tensor.unfold` as a selection by index: the exporters keep as many as the sample has."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def windows(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Returns the windows of an axis, each along a new last axis."""
    axis = dimension % x.dim()
    starts = torch.arange(0, x.shape[axis] - size + 1, step, device=x.device)
    places = (starts[:, None] + torch.arange(size, device=x.device)).reshape(-1)
    taken = x.index_select(axis, places)
    shape = (*x.shape[:axis], -1, size, *x.shape[axis + 1 :])
    axes = [*range(axis + 1), *range(axis + 2, x.dim() + 1), axis + 1]
    return taken.reshape(shape).permute(axes)


def _is_fixed(x: Tensor, dimension: object, size: object, step: object) -> bool:
    return all(type(one) is int for one in (dimension, size, step)) and x.dim() > 0


TWIN = Twin("unfold", ("torch.Tensor.unfold",), windows, _is_fixed)
