"""`split` into pieces of one size as slices: the exporters cut the last one wrongly, where it is shorter."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.chunk import is_countable, pieces


def _split(x: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    return pieces(x, split_size, dim)


def _is_even(x: Tensor, split_size: object, dim: object = 0) -> bool:
    return type(split_size) is int and type(dim) is int and split_size > 0 and is_countable(x, dim)


TWIN = Twin("split", ("torch.split", "torch.Tensor.split"), _split, _is_even, is_taken=True)
