"""`complex` as a pair of real tensors, from its parts: exporters have no complex numbers."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.pairs import Pair, is_real


def _complex(real: Tensor, imag: Tensor) -> Pair:
    return Pair(real, imag)


TWIN = Twin("complex", ("torch.complex",), _complex, is_real)
