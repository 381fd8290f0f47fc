"""`gradient` as differences of neighbours: exporters lack it, or freeze its sizes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin, axes_of, sliced


def _gradient(
    input: Tensor,  # noqa: A002 - torch's name
    *,
    spacing: float | Sequence[float] = 1.0,
    dim: int | Sequence[int] | None = None,
    edge_order: int = 1,
) -> tuple[Tensor, ...]:
    axes = axes_of(input, dim)
    steps = [spacing] * len(axes) if isinstance(spacing, (int, float)) else list(spacing)
    return tuple(_along(input, axis, step, edge_order) for axis, step in zip(axes, steps, strict=True))


def _along(values: Tensor, axis: int, step: float, edge_order: int) -> Tensor:
    """Central differences, and at the ends those of first or second order to one side."""
    piece: Callable[[int, int | None], Tensor] = functools.partial(sliced, values, axis)
    if edge_order == 1:
        first, last = piece(1, 2) - piece(0, 1), piece(-1, None) - piece(-2, -1)
    else:
        first = 2.0 * piece(1, 2) - 1.5 * piece(0, 1) - 0.5 * piece(2, 3)
        last = 1.5 * piece(-1, None) - 2.0 * piece(-2, -1) + 0.5 * piece(-3, -2)
    return torch.cat([first, (piece(2, None) - piece(0, -2)) / 2.0, last], axis) / step


def _applies(input: Tensor, *, spacing: Any = 1.0, dim: Any = None, edge_order: int = 1) -> bool:  # noqa: A002 - torch's name
    steps = [spacing] if isinstance(spacing, (int, float)) else spacing
    is_even = isinstance(steps, Sequence) and all(isinstance(step, (int, float)) for step in steps)
    return is_even and (input.is_floating_point() or input.is_complex())


TWIN = Twin("gradient", ("torch.gradient",), _gradient, applies=_applies)
