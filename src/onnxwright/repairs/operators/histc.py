"""`histc` as sums of what falls into each bin: mixtures of experts count their tokens so, and it has no ONNX form."""

from __future__ import annotations

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:  # noqa: A002 - torch's names
    flat = x.reshape(-1, 1)
    low, high = (min, max) if max > min else _ends(x)
    place = torch.floor((flat - low) * bins / (high - low)).clamp(max=bins - 1).to(torch.int64)
    is_inside = (flat >= low) & (flat <= high)
    numbers = torch.arange(bins, device=x.device)
    return ((place == numbers) & is_inside).sum(0).to(x.dtype)


def _ends(x: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest number, which PyTorch takes where no ends are given; wider where they are equal."""
    low, high = x.amin(), x.amax()
    wider = (low == high).to(x.dtype)
    return low - wider, high + wider


def _is_counted(x: Tensor, bins: object = 100, min: float = 0, max: float = 0) -> bool:  # noqa: A002 - torch's names
    return type(bins) is int and max >= min


TWIN = Twin("histc", ("torch.histc", "torch.Tensor.histc"), _histc, _is_counted)
