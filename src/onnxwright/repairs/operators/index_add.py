"""`index_add` as a `scatter_add`: the tracing exporter loses what is added twice to one place."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def spread(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Returns the index of each row for each element of the rows."""
    axis = dim % x.dim()
    whole = index.to(torch.int64).reshape((1,) * axis + (-1,) + (1,) * (x.dim() - axis - 1))
    return whole.expand_as(source)


def _add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:  # noqa: A002
    rows = source if alpha == 1 else source * alpha
    return input.scatter_add(dim, spread(input, dim, index, rows), rows)


def is_by_rows(
    input: Tensor,  # noqa: A002 - torch's name
    dim: object,
    index: Tensor,
    source: Tensor,
    *_: object,
    **__: object,
) -> bool:
    """Whether rows are added, and not lone numbers."""
    return isinstance(dim, int) and input.dim() > 0 and source.dim() == input.dim() and index.dim() == 1


TWIN = Twin("index_add", ("torch.index_add", "torch.Tensor.index_add"), _add, is_by_rows)
