"""`kthvalue` as an element of what is sorted: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _kth(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> torch.return_types.kthvalue:
    values, places = (one.narrow(dim, k - 1, 1) for one in x.sort(dim))
    found = (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))
    return torch.return_types.kthvalue(found)


TWIN = Twin("kthvalue", ("torch.kthvalue", "torch.Tensor.kthvalue"), _kth, lambda x, *_, **__: x.dim() > 0)
