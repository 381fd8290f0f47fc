"""`index_add_` as a `scatter_add_`: the tracing exporter loses what is added twice to one place."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.index_add import is_by_rows, spread


def _add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:  # noqa: A002
    rows = source if alpha == 1 else source * alpha
    return input.scatter_add_(dim, spread(input, dim, index, rows), rows)


TWIN = Twin("index_add_in_place", ("torch.Tensor.index_add_",), _add, is_by_rows, is_taken=True)
