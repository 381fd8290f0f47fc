"""`searchsorted` as a count of smaller numbers: the tracing exporter lacks it. For numbers without NaN."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _search(boundaries: Tensor, values: Tensor, *, right: bool = False, side: str | None = None, **_: object) -> Tensor:
    rows = boundaries.unsqueeze(-2) if boundaries.dim() > 1 else boundaries
    is_right = right or side == "right"
    is_below = rows <= values.unsqueeze(-1) if is_right else rows < values.unsqueeze(-1)
    return is_below.sum(-1)


def _is_plain(boundaries: Tensor, values: object, **others: object) -> bool:
    return isinstance(values, Tensor) and others.keys() <= {"right", "side"}


TWIN = Twin("searchsorted", ("torch.searchsorted",), _search, _is_plain)
