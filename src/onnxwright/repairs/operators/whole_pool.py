"""A pool over all places of the last axes, told by its kernel: of exporters, each takes the sample's size for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin

_POOLS: Final[Mapping[str, Callable[..., Tensor]]] = {"max": torch.amax, "avg": torch.mean}


def twin_of(rank: int, kind: str) -> Twin:
    """Returns the twin of a kind of pool, `max` or `avg`, over so many axes."""
    axes = tuple(range(-rank, 0))

    def compute(x: Tensor, kernel_size: object, *_: object, **__: object) -> Tensor:
        return _POOLS[kind](x, axes, keepdim=True)

    def may_be_whole(x: Tensor, kernel_size: Any, *args: object, **kwargs: object) -> bool:
        sizes = _sizes(kernel_size, rank)
        return not args and not kwargs and all(one == size for one, size in zip(sizes, x.shape[-rank:], strict=True))

    def is_whole(x: Tensor, kernel_size: Any, *args: object, **kwargs: object) -> bool:
        # A plain number may equal the length by coincidence; in an export, the size of a tensor is none.
        is_size = all(type(size) is not int for size in _sizes(kernel_size, rank))
        return is_size and may_be_whole(x, kernel_size, *args, **kwargs)

    name = f"{kind}_pool{rank}d"
    places = tuple(f"{owner}.{name}" for owner in ("torch.nn.functional", *(["torch"] if hasattr(torch, name) else [])))
    return Twin(name, places, compute, is_whole, counts=may_be_whole)


def _sizes(kernel_size: Any, rank: int) -> Sequence[Any]:
    return kernel_size if isinstance(kernel_size, tuple | list) else (kernel_size,) * rank
