"""`round` of a size, a tensor while it is traced: tensors lack it. Rounds half to even, as Python does.

A trace has the size in float32, and Python in doubles. Where they may differ, as for `0.7 * n`, nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from onnxwright.errors import RouteError
from onnxwright.repairs.operators import Twin

_STEPS: Final = 1024


def _round(x: Tensor, digits: int | None = None) -> Tensor:
    if _is_traced() and not is_traced_size(x):
        raise RouteError("`round` of a size that is computed in float32 while it is traced, and in doubles by Python.")
    return x.round(decimals=digits) if digits is not None else x.round().to(torch.int64)


def is_traced_size(x: Tensor) -> bool:
    """Whether a number of a trace is a size, or one times or by another, a small whole number, or a simple fraction.

    float32 holds these as well as doubles do, so that they are rounded alike.
    """
    return _is_traced() and x.dim() == 0 and (not x.is_floating_point() or _is_exact(x))


def made_whole(x: Tensor, way: Callable[[Tensor], Tensor], in_python: Callable[[float], int]) -> Any:
    """Returns a number rounded one way: in the graph where it is a traced size, else by Python, as a number."""
    if not is_traced_size(x):
        return in_python(float(x))
    return way(x).to(torch.int64) if x.is_floating_point() else x


def _is_traced() -> bool:
    return torch._C._get_tracing_state() is not None


def _is_exact(x: Tensor) -> bool:
    node = torch._C._get_value_trace(x).node()  # type: ignore[attr-defined]  # torch's stubs lack it
    if node.kind() not in ("aten::div", "aten::mul"):
        return False
    return all(_is_simple(one) for one in list(node.inputs())[:2])


def _is_simple(operand: Any) -> bool:
    if operand.node().kind() == "prim::Constant":
        return (float(operand.toIValue()) * _STEPS).is_integer()
    return bool(operand.type().scalarType() == "Long")


TWIN = Twin("round", ("torch.Tensor.__round__",), _round, told="__round__")
