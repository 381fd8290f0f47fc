"""`kthvalue` as an element of what is sorted: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _kth(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> torch.return_types.kthvalue:
    found = tuple(one.narrow(dim, k - 1, 1) for one in x.sort(dim))
    return torch.return_types.kthvalue(found if keepdim else tuple(one.squeeze(dim) for one in found))


TWIN = Twin("kthvalue", ("torch.kthvalue", "torch.Tensor.kthvalue"), _kth, lambda x, *_, **__: x.dim() > 0)
