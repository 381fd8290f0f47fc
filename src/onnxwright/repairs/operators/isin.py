"""`isin` as comparisons with each of the numbers asked for: the tracing exporter lacks it."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _isin(
    elements: Tensor, test_elements: Tensor | float, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    asked = torch.as_tensor(test_elements).reshape(-1)
    is_in = (torch.as_tensor(elements).unsqueeze(-1) == asked).any(-1)
    return ~is_in if invert else is_in


TWIN = Twin("isin", ("torch.isin",), _isin)
