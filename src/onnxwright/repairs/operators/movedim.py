"""`movedim` as a permutation: the tracing exporter computes it wrongly where it doesn't know the rank."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:  # noqa: A002
    rank = input.dim()
    sources, places = ([axis % rank for axis in _several(axes)] for axes in (source, destination))
    moved = dict(zip(places, sources, strict=True))
    others = iter(axis for axis in range(rank) if axis not in sources)
    return input.permute([moved[axis] if axis in moved else next(others) for axis in range(rank)])


def _several(axes: int | Sequence[int]) -> Sequence[int]:
    return (axes,) if isinstance(axes, int) else axes


_PLACES = ("torch.movedim", "torch.moveaxis", "torch.Tensor.movedim", "torch.Tensor.moveaxis")

TWIN = Twin("movedim", _PLACES, _movedim, is_taken=True)
