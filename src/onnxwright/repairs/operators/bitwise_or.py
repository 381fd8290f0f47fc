"""`|` of whole numbers as their sum less `&` of them: the tracing exporter knows it of bools alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def both(x: Any, other: Any) -> tuple[Tensor, Tensor]:
    """Returns two operands as tensors of the type in which they meet."""
    one = x if isinstance(x, Tensor) else torch.as_tensor(x)
    two = other if isinstance(other, Tensor) else torch.as_tensor(other)
    dtype = torch.result_type(x, other)
    return one.to(dtype), two.to(dtype)


def is_whole(x: Any, other: Any) -> bool:
    """Whether a bitwise operator meets whole numbers, not bools alone."""
    operands = all(isinstance(one, Tensor | int) for one in (x, other))
    return operands and not torch.result_type(x, other).is_floating_point and torch.result_type(x, other) != torch.bool


def _or(x: Any, other: Any) -> Tensor:
    one, two = both(x, other)
    return one + two - (one & two)


_PLACES = ("torch.bitwise_or", "torch.Tensor.bitwise_or", "torch.Tensor.__or__", "torch.Tensor.__ror__")

TWIN = Twin("bitwise_or", _PLACES, _or, is_whole)
