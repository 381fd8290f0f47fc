"""`ifftshift` as two pieces in the other order: exporters lack it, or take no sizes for it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.fftshift import turned


def _shifted(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:  # noqa: A002 - torch's name
    return turned(input, dim, 0)


TWIN = Twin("ifftshift", ("torch.fft.ifftshift",), _shifted)
