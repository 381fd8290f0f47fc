"""`cummax` as the greatest number up to each place, of all pairs of places: the tracing exporter has none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def end_of(dtype: torch.dtype, *, is_greatest: bool) -> float:
    """Returns the greatest or least number of a type: of floats, an infinite one."""
    if dtype.is_floating_point:
        return torch.inf if is_greatest else -torch.inf
    return torch.iinfo(dtype).max if is_greatest else torch.iinfo(dtype).min


def running(x: Tensor, dim: int, *, is_greatest: bool) -> tuple[Tensor, Tensor]:
    """Returns the greatest or least number up to each place of an axis, and the last place that holds it."""
    moved = x.movedim(dim, -1)
    places = torch.ones_like(moved, dtype=torch.int64).cumsum(-1) - 1
    is_before = places[..., None, :] <= places[..., :, None]
    least = torch.full_like(moved, end_of(x.dtype, is_greatest=not is_greatest))
    known = torch.where(is_before, moved[..., None, :], least[..., None, :])
    values = known.amax(-1) if is_greatest else known.amin(-1)
    holds = is_before & (moved[..., None, :] == values[..., :, None])
    last = torch.where(holds, places[..., None, :], torch.zeros_like(places)[..., None, :] - 1).amax(-1)
    return values.movedim(-1, dim), last.movedim(-1, dim)


def _cummax(input: Tensor, dim: int) -> torch.return_types.cummax:  # noqa: A002
    return torch.return_types.cummax(running(input, dim, is_greatest=True))


def is_several(input: Tensor, dim: int) -> bool:  # noqa: A002
    """Whether there are numbers along an axis."""
    return input.dim() > 0 and input.dtype != torch.bool


TWIN = Twin("cummax", ("torch.cummax", "torch.Tensor.cummax"), _cummax, is_several)
