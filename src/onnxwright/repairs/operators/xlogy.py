"""`xlogy` as a product that is 0 wherever its first factor is: the tracing exporter has none."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _product(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    product = input * torch.log(other)
    is_nothing = (input == 0) & ~torch.isnan(other)
    return torch.where(is_nothing, torch.zeros_like(product), product)


def are_real(input: object, other: object) -> bool:  # noqa: A002 - torch's name
    """Whether two tensors hold floats of one type."""
    parts = [one for one in (input, other) if isinstance(one, Tensor) and one.is_floating_point()]
    return len(parts) == 2 and parts[0].dtype == parts[1].dtype


TWIN = Twin("xlogy", ("torch.xlogy", "torch.Tensor.xlogy", "torch.special.xlogy"), _product, are_real)
