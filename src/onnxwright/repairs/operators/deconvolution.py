"""Transposed convolutions up to a given size: Python computes what to add at the end, which exporters keep as it was.

As much as may be is added, and what is too much is cut off: it is added at the end alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from onnxwright.repairs.operators import Twin


def _up_to(self: Any, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:  # noqa: A002 - torch's name
    assert output_size is not None, "taken only with a size"
    rank = len(self.kernel_size)
    compute = getattr(functional, f"conv_transpose{rank}d")
    most = tuple(stride - 1 for stride in self.stride)
    answer: Tensor = compute(input, self.weight, self.bias, self.stride, self.padding, most, self.groups, self.dilation)
    for axis, size in enumerate(output_size[-rank:], -rank):
        answer = answer.narrow(axis, 0, size)
    return answer


def _is_sized(self: Any, input: Tensor, output_size: Sequence[int] | None = None) -> bool:  # noqa: A002 - torch's name
    return output_size is not None


_PLACES = tuple(f"torch.nn.ConvTranspose{rank}d.forward" for rank in (1, 2, 3))

TWIN = Twin("deconvolution", _PLACES, _up_to, _is_sized, is_taken=True)
