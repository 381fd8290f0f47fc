"""`grouped_mm` of sorted rows as a product for each group: mixtures of experts compute so, and it has no ONNX form."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _grouped_mm(x: Tensor, weight: Tensor, offs: Tensor) -> Tensor:
    """Rows `offs[g - 1]` to `offs[g]` of `x` (rows, width) times `weight[g]` (groups, width, outputs)."""
    rows = torch.cumsum(torch.ones_like(x[:, 0]), 0).to(torch.int64) - 1
    group_of = (rows[:, None] >= offs[None].to(torch.int64)).sum(1)
    answer = torch.zeros_like(x[:, :1]) * torch.zeros_like(weight[0, :1])
    for group in range(weight.shape[0]):
        here = (group_of == group).nonzero().squeeze(1)
        answer = answer.index_copy(0, here, x.index_select(0, here) @ weight[group])
    return answer


def _is_by_rows(x: Tensor, weight: Tensor, offs: Tensor | None = None, **others: object) -> bool:
    is_plain = all(value is None for value in others.values())
    return is_plain and offs is not None and x.dim() == 2 and weight.dim() == 3


_PLACES = ("torch.nn.functional.grouped_mm", "torch._grouped_mm", "transformers.integrations.moe._grouped_mm")

TWIN = Twin("grouped_mm", _PLACES, _grouped_mm, _is_by_rows)
