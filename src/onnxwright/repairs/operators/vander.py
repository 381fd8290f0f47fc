"""`linalg.vander` as powers: exporters lack it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _powers(x: Tensor, *, N: Any = None) -> Tensor:  # noqa: N803 - torch's name
    return x.unsqueeze(-1) ** torch.arange(x.shape[-1] if N is None else N, device=x.device)


TWIN = Twin("vander", ("torch.linalg.vander",), _powers)
