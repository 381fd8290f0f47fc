"""What scripted code does with Python's numbers and the TorchScript exporter writes otherwise, without a word.

It makes lists to count with, or as sizes: `x.split([1] * x.shape[1], 1)`; the exporter writes a product of the list's
elements with the number. And it divides, `-(-length // 4)`; the exporter's division rounds towards zero.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch.onnx import symbolic_helper
from torch.onnx._internal.torchscript_exporter.symbolic_opset9 import floordiv, mul

from onnxwright.routes.symbols import written

_FIRST_WITH_MOD: Final = 10


def as_python_does(opset: int) -> AbstractContextManager[None]:
    """Has lists repeated and whole numbers divided as Python does, while entered; tensors stay with the exporter."""
    divided = {"aten::floordiv": _floordiv} if opset >= _FIRST_WITH_MOD else {}
    return written({"aten::mul": _mul, **divided}, opset)


def _mul(g: Any, one: Any, other: Any) -> Any:
    is_list, _ = (isinstance(value.type(), torch.ListType) for value in g.original_node.inputs())
    if not isinstance(g.original_node.output().type(), torch.ListType):
        return mul(g, one, other)
    repeated, times = (one, other) if is_list else (other, one)
    return g.op("Tile", repeated, symbolic_helper._unsqueeze_helper(g, times, [0]))


def _floordiv(g: Any, dividend: Any, divisor: Any) -> Any:
    if any(map(symbolic_helper._is_fp, (dividend, divisor))):
        return floordiv(g, dividend, divisor)
    return g.op("Div", g.op("Sub", dividend, g.op("Mod", dividend, divisor)), divisor)
