"""`split` by counts that are tensors, as a selection of rows for each: mixtures of experts hand out their tokens so."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _split(tensor: Tensor, counts: Sequence[Tensor | int], dim: int = 0) -> tuple[Tensor, ...]:
    axis = dim % tensor.dim()
    moved = tensor.movedim(axis, 0)
    first = moved.flatten(1)[:, 0] if moved.dim() > 1 else moved
    places = torch.ones_like(first, dtype=torch.int64).cumsum(0)
    ends = torch.stack([torch.as_tensor(count).to(torch.int64) for count in counts]).cumsum(0)
    piece = (places[:, None] > ends[None]).sum(1)
    return tuple(tensor.index_select(axis, (piece == place).nonzero().squeeze(1)) for place in range(len(counts)))


def _is_counted(tensor: object, counts: object, *, dim: int = 0) -> bool:
    return isinstance(counts, (list, tuple)) and any(isinstance(count, Tensor) for count in counts)


def _may_be_counted(tensor: object, counts: object, *, dim: int = 0) -> bool:
    """Whether numbers may be tensors while they are traced, or where `tolist` answers tensors."""
    return isinstance(counts, (list, tuple))


TWIN = Twin("split_by_counts", ("torch.Tensor.split", "torch.split"), _split, _is_counted, counts=_may_be_counted)
