"""`scatter` of True or False as of 1 or 0: the tracing exporter knows no scatter of a bool."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _scatter(input: Tensor, dim: int, index: Tensor, value: bool) -> Tensor:  # noqa: A002
    return input.scatter(dim, index, int(value))


def _is_bool(input: Tensor, dim: int, index: Tensor, value: object) -> bool:  # noqa: A002
    return isinstance(value, bool)


TWIN = Twin("scatter", ("torch.Tensor.scatter", "torch.scatter"), _scatter, _is_bool)
