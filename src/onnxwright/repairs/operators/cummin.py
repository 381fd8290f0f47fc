"""`cummin` as the least number up to each place, of all pairs of places: the tracing exporter has none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.cummax import is_several, running


def _cummin(input: Tensor, dim: int) -> torch.return_types.cummin:  # noqa: A002
    return torch.return_types.cummin(running(input, dim, is_greatest=False))


TWIN = Twin("cummin", ("torch.cummin", "torch.Tensor.cummin"), _cummin, is_several)
