"""`index_reduce` as a `scatter_reduce`: exporters have none."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.index_add import is_by_rows, spread
from onnxwright.repairs.operators.scatter_reduce import scatter_reduce


def _reduce(
    input: Tensor,  # noqa: A002 - torch's name
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    return scatter_reduce(input, dim, spread(input, dim, index, source), source, reduce, include_self=include_self)


TWIN = Twin("index_reduce", ("torch.index_reduce", "torch.Tensor.index_reduce"), _reduce, is_by_rows)
