"""`repeat_interleave` by a fixed number of times, as an expansion: the exporters write a loop, or fail."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def repeated(x: Tensor, repeats: int, dim: int | None = None) -> Tensor:
    """Returns a tensor with each element along an axis, or of all, so many times in a row."""
    x, axis = (x.reshape(-1), 0) if dim is None else (x, dim % x.dim())
    wide = x.unsqueeze(axis + 1).expand(*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    return wide.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])


def _is_fixed(x: Tensor, repeats: object, dim: int | None = None, **others: object) -> bool:
    return type(repeats) is int and repeats > 0 and x.dim() > 0 and not others


TWIN = Twin(
    "repeat_interleave",
    ("torch.repeat_interleave", "torch.Tensor.repeat_interleave"),
    repeated,
    _is_fixed,
    is_taken=True,
)
