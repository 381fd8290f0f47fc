"""`chunk` as slices: the tracing exporter computes the ends wrongly where the last piece is shorter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin, sliced


class Pieces(tuple[Tensor, ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """Pieces of an axis. Who counts them asks the operator itself, so that it's seen that they are counted."""

    def __new__(cls, pieces: Iterable[Tensor], count: Callable[[], int]) -> Self:
        """Keeps pieces, and what counts them."""
        made = super().__new__(cls, pieces)
        made._count = count
        return made

    _count: Callable[[], int]

    def __len__(self) -> int:
        """Counts them as the operator does."""
        return self._count()


def pieces(x: Tensor, step: Any, dim: int) -> tuple[Tensor, ...]:
    """Cuts an axis into stretches of `step`, the last one shorter; as many as there are for the size at hand."""
    axis, length = dim % x.dim(), int(step)
    count = max(1, -(-int(x.shape[axis]) // length))
    cut = tuple(sliced(x, axis, number * step, (number + 1) * step) for number in range(count))
    is_exported = torch.compiler.is_exporting() or torch.compiler.is_dynamo_compiling()  # which follows counts itself
    return cut if is_exported else Pieces(cut, lambda: len(torch.ops.aten.split.Tensor(x, length, axis)))


def is_countable(x: Tensor, dim: int) -> bool:
    """Whether the pieces of an axis can be counted: not where that would fix a symbolic size."""
    return not isinstance(x.shape[dim], torch.SymInt) and int(x.shape[dim]) > 0


def _chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    return pieces(x, (x.shape[dim] + chunks - 1) // chunks, dim)


def _is_counted(x: Tensor, chunks: object, dim: object = 0) -> bool:
    return type(chunks) is int and type(dim) is int and is_countable(x, dim)


TWIN = Twin("chunk", ("torch.chunk", "torch.Tensor.chunk"), _chunk, _is_counted, is_taken=True)
