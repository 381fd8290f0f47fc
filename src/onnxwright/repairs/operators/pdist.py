"""`pdist` as the root of summed squares of differences, above the diagonal: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _pdist(input: Tensor, p: float = 2.0) -> Tensor:  # noqa: A002 - torch's name
    apart = input[:, None] - input[None]
    far = apart.abs().sum(-1) if p == 1.0 else apart.square().sum(-1).sqrt()
    return far[torch.ones_like(far).triu(1) > 0]


TWIN = Twin("pdist", ("torch.pdist", "torch.nn.functional.pdist"), _pdist, lambda _, p=2.0: p in {1.0, 2.0})
