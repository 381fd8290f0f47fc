"""`view_as_complex` as a pair of real tensors, from the last axis: exporters have no complex numbers."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.pairs import Pair, is_real


def _view_as_complex(x: Tensor) -> Pair:
    return Pair(x[..., 0], x[..., 1])


TWIN = Twin("view_as_complex", ("torch.view_as_complex",), _view_as_complex, is_real)
