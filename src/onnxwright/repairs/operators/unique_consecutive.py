"""`unique_consecutive` as what differs from the one before it: exporters have none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _unique(
    input: Tensor,  # noqa: A002 - torch's name
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Tensor | tuple[Tensor, ...]:
    flat = input.flatten()
    is_new = torch.cat([torch.ones_like(flat[:1], dtype=torch.bool), flat[1:] != flat[:-1]])
    found, places = flat[is_new], is_new.to(torch.int64).cumsum(0) - 1
    others = [places.reshape(input.shape)] if return_inverse else []
    if return_counts:
        zeros = torch.zeros_like(found, dtype=torch.int64)
        others.append(zeros.scatter_add(0, places, torch.ones_like(places)))
    return (found, *others) if others else found


def _is_flat(
    input: Tensor,  # noqa: A002 - torch's name
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> bool:
    return dim is None or input.dim() == 1


TWIN = Twin("unique_consecutive", ("torch.unique_consecutive", "torch.Tensor.unique_consecutive"), _unique, _is_flat)
