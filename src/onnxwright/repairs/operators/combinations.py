"""`combinations` as the places that rise from one to the next: exporters lack it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _combined(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:  # noqa: A002 - torch's name
    grids = torch.meshgrid(*[torch.arange(input.shape[0], device=input.device)] * r, indexing="ij")
    is_taken = torch.ones_like(grids[0], dtype=torch.bool)
    for one, other in itertools.pairwise(grids):
        is_taken = is_taken & (one <= other if with_replacement else one < other)
    return torch.stack([input[grid[is_taken]] for grid in grids], 1)


def _applies(input: Tensor, r: int = 2, with_replacement: bool = False) -> bool:  # noqa: A002 - torch's name
    return r > 0


TWIN = Twin("combinations", ("torch.combinations",), _combined, applies=_applies)
