"""`logcumsumexp` as the logarithm of the sum up to each place, of all pairs of places: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _summed(input: Tensor, dim: int) -> Tensor:  # noqa: A002 - torch's name
    moved = input.movedim(dim, -1)
    places = torch.ones_like(moved, dtype=torch.int64).cumsum(-1)
    is_before = places[..., None, :] <= places[..., :, None]
    known = torch.where(is_before, moved[..., None, :], torch.full_like(moved, -torch.inf)[..., None, :])
    return torch.logsumexp(known, -1).movedim(-1, dim)


def _is_row(input: Tensor, dim: object) -> bool:  # noqa: A002 - torch's name
    return input.dim() > 0


TWIN = Twin("logcumsumexp", ("torch.logcumsumexp", "torch.Tensor.logcumsumexp"), _summed, _is_row)
