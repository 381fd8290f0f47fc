"""`tril_indices` as the places at which a comparison of rows and columns holds: exporters have none, or fix a size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def columns_less_rows(row: Any, col: Any, device: Any) -> Tensor:
    """Returns the number of each column less that of each row, as int64[row, col]."""
    return torch.arange(col, device=device) - torch.arange(row, device=device).unsqueeze(1)


def places(is_there: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Returns the rows and the columns at which something holds, row by row, as int[2, places]."""
    return is_there.nonzero().t().to(dtype or torch.int64)


def _tril_indices(
    row: Any, col: Any, offset: Any = 0, *, dtype: torch.dtype | None = None, device: Any = None, **_: object
) -> Tensor:
    return places(columns_less_rows(row, col, device) <= offset, dtype)


TWIN = Twin("tril_indices", ("torch.tril_indices",), _tril_indices, is_of_sizes=True)
