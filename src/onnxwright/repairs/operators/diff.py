"""`diff` as a difference of slices: the tracing exporter lacks it."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _diff(
    x: Tensor, n: int = 1, dim: int = -1, *, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    parts = [part for part in (prepend, x, append) if part is not None]
    whole = torch.cat(parts, dim) if len(parts) > 1 else x
    for _ in range(n):
        later, earlier = whole.narrow(dim, 1, whole.shape[dim] - 1), whole.narrow(dim, 0, whole.shape[dim] - 1)
        whole = later ^ earlier if whole.dtype == torch.bool else later - earlier
    return whole


def _is_plain(x: Tensor, n: int = 1, dim: int = -1, **parts: Tensor | None) -> bool:
    return x.dim() > 0 and all(part is None or part.dim() == x.dim() for part in parts.values())


TWIN = Twin("diff", ("torch.diff", "torch.Tensor.diff"), _diff, _is_plain)
