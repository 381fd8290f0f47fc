"""`round` of a size, a tensor while it is traced: tensors lack it. Rounds half to even, as Python does.

A trace has the size in float32, and Python in doubles. Where they may differ, as for `0.7 * n`, nothing is rounded.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from onnxwright.errors import RouteError
from onnxwright.repairs.operators import Twin

_STEPS: Final = 1024


def _round(x: Tensor, digits: int | None = None) -> Tensor:
    if not _is_exact(x):
        raise RouteError("`round` of a size that is computed in float32 while it is traced, and in doubles by Python.")
    return x.round(decimals=digits) if digits is not None else x.round().to(torch.int64)


def _is_exact(x: Tensor) -> bool:
    """Whether a number is a size, or one times or by a small whole number, or by a simple fraction."""
    if not x.is_floating_point() or torch._C._get_tracing_state() is None:
        return True
    value: Any = torch._C._get_value_trace(x)  # type: ignore[attr-defined]  # torch's stubs lack it
    node = value.node()
    if node.kind() not in ("aten::div", "aten::mul"):
        return False
    others = [one.toIValue() for one in node.inputs() if one.node().kind() == "prim::Constant"]
    numbers = [float(one) for one in others if isinstance(one, (int, float, Tensor))]
    return bool(numbers) and all((one * _STEPS).is_integer() for one in numbers)


TWIN = Twin("round", ("torch.Tensor.__round__",), _round, told="__round__")
