"""`bincount` as ones, or weights, added up at the places that numbers name: exporters have none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _bincount(input: Tensor, weights: Tensor | None = None, minlength: Any = 0) -> Tensor:  # noqa: A002 - torch's name
    places = input.to(torch.int64)
    count: Any = torch.cat([places, places.new_ones(1) * (minlength - 1)]).max() + 1
    added = torch.ones_like(places) if weights is None else weights
    kind = torch.float64 if weights is not None and weights.dtype != torch.float32 else added.dtype
    return torch.zeros_like(torch.arange(count, device=input.device), dtype=kind).scatter_add(0, places, added.to(kind))


TWIN = Twin("bincount", ("torch.bincount", "torch.Tensor.bincount"), _bincount)
