"""`kron` as products of each element with each, and axes joined in pairs: exporters lack it, or freeze its sizes."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _kron(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    rank = max(input.dim(), other.dim())
    one, another = (given[(None,) * (rank - given.dim()) + (...,)] for given in (input, other))
    for axis in range(rank):
        one, another = one.unsqueeze(2 * axis + 1), another.unsqueeze(2 * axis)
    product = one * another
    for axis in range(rank):
        product = product.flatten(axis, axis + 1)
    return product


TWIN = Twin("kron", ("torch.kron", "torch.Tensor.kron"), _kron)
