"""`chunk` as slices: the tracing exporter computes the ends wrongly where the last piece is shorter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def pieces(x: Tensor, step: Any, dim: int) -> tuple[Tensor, ...]:
    """Cuts an axis into stretches of `step`, the last one shorter; as many as there are for the size at hand."""
    axis = dim % x.dim()
    count = max(1, -(-int(x.shape[axis]) // int(step)))
    before = (slice(None),) * axis
    return tuple(x[(*before, slice(number * step, (number + 1) * step))] for number in range(count))


def is_countable(x: Tensor, dim: int) -> bool:
    """Whether the pieces of an axis can be counted: not where that would fix a symbolic size."""
    return not isinstance(x.shape[dim], torch.SymInt) and int(x.shape[dim]) > 0


def _chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    return pieces(x, (x.shape[dim] + chunks - 1) // chunks, dim)


def _is_counted(x: Tensor, chunks: object, dim: object = 0) -> bool:
    return type(chunks) is int and type(dim) is int and is_countable(x, dim)


TWIN = Twin("chunk", ("torch.chunk", "torch.Tensor.chunk"), _chunk, _is_counted, is_taken=True)
