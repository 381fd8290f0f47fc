"""`cdist` as the root of summed squares of differences: `torch.export` has no form of it."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, **_: object) -> Tensor:
    apart = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    return apart.abs().sum(-1) if p == 1.0 else apart.square().sum(-1).sqrt()


TWIN = Twin("cdist", ("torch.cdist",), _cdist, lambda x1, x2, p=2.0, **_: p in {1.0, 2.0})
