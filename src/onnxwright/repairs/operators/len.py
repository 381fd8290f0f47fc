"""`len` of a tensor as its first size: in a trace, Python makes a number of it, which the graph keeps."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _first_size(tensor: Tensor) -> Any:
    return tensor.shape[0]


def _has_axes(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and tensor.dim() > 0


TWIN = Twin("len", ("builtins.len",), _first_size, _has_axes, is_taken=True)
