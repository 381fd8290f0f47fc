"""`fold` as a transposed convolution with ones: exporters need the size of the answer, and keep the sample's.

Blocks that overlap are added up, as in the last step of a vocoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onnxwright.repairs.operators import Twin


def _fold(
    input: Tensor,  # noqa: A002 - torch's name
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Blocks (batch, channels * kernel, count), or one without the batch, added up at their places."""
    blocks = input if input.dim() == 3 else input[None]
    size, kernel, dilation, padding, stride = map(_both, (output_size, kernel_size, dilation, padding, stride))
    reach = [size[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1 for axis in (0, 1)]
    counts = [reach[axis] // stride[axis] + 1 for axis in (0, 1)]
    width, inside = int(input.shape[-2]), kernel[0] * kernel[1]
    channels = width // inside
    # The tracing exporter has to know the weights, as it does what is no tensor.
    ones = np.tile(np.eye(inside).reshape(inside, 1, *kernel), (channels, 1, 1, 1))
    weights = torch.tensor(ones, dtype=input.dtype, device=input.device)
    grid = blocks.reshape(blocks.shape[0], width, *counts)
    answer = functional.conv_transpose2d(grid, weights, None, stride, groups=channels, dilation=dilation)
    left = [reach[axis] - (counts[axis] - 1) * stride[axis] for axis in (1, 0)]
    if any(type(one) is not int or one for one in left):
        answer = functional.pad(answer, (0, left[0], 0, left[1]))
    if any(padding):
        answer = answer[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return answer if input.dim() == 3 else answer[0]


def _both(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _is_fixed(input: Tensor, output_size: object, kernel_size: object, *others: object, **named: object) -> bool:  # noqa: A002
    """Whether all but the size of the answer are plain numbers."""
    given = [part for one in (kernel_size, *others, *named.values()) for part in _both(one)]
    return input.is_floating_point() and all(type(one) is int for one in given)


TWIN = Twin("fold", ("torch.nn.functional.fold",), _fold, _is_fixed)
