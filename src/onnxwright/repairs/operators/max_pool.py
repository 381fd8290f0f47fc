"""A max pool over the whole length as a maximum: exporters take the sample's length for the kernel's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _pool(x: Tensor, kernel_size: object, *_: object, **__: object) -> Tensor:
    return x.amax(-1, keepdim=True)


def _is_whole(x: Tensor, kernel_size: object, *args: object, **kwargs: object) -> bool:
    # A plain number may equal the length by coincidence; in an export, the size of a tensor is none.
    return _may_be_whole(x, kernel_size, *args, **kwargs) and type(_sizes(kernel_size)[0]) is not int


def _may_be_whole(x: Tensor, kernel_size: object, *args: object, **kwargs: object) -> bool:
    sizes = _sizes(kernel_size)
    return not args and not kwargs and len(sizes) == 1 and bool(sizes[0] == x.shape[-1])


def _sizes(kernel_size: object) -> Sequence[object]:
    return kernel_size if isinstance(kernel_size, tuple | list) else (kernel_size,)


_PLACES = ("torch.nn.functional.max_pool1d", "torch.max_pool1d")

TWIN = Twin("max_pool1d", _PLACES, _pool, _is_whole, counts=_may_be_whole)
