"""`triu_indices` as the places at which a comparison of rows and columns holds: exporters have none, or fix a size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.tril_indices import columns_less_rows, places


def _triu_indices(
    row: Any, col: Any, offset: Any = 0, *, dtype: torch.dtype | None = None, device: Any = None, **_: object
) -> Tensor:
    return places(columns_less_rows(row, col, device) >= offset, dtype)


TWIN = Twin("triu_indices", ("torch.triu_indices",), _triu_indices, is_of_sizes=True)
