"""The numbers that a graph compares something with: at these, and beside them, it may turn another way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

_COMPARING: Final = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
_MOST: Final = 12


def compared_numbers(model: ir.Model) -> tuple[float, ...]:
    """Returns the finite numbers that nodes compare with, bodies of branches and loops included; the first few."""
    found = dict.fromkeys(number for node in model.graph.all_nodes() for number in _numbers(node))
    return tuple(found)[:_MOST]


def _numbers(node: ir.Node) -> Iterator[float]:
    if node.op_type not in _COMPARING:
        return
    for value in node.inputs:
        constant = ir.convenience.get_const_tensor(value) if value is not None else None
        if constant is not None and constant.size == 1 and constant.dtype != ir.DataType.BOOL:
            number = float(np.asarray(constant.numpy()).reshape(-1)[0])
            if np.isfinite(number):
                yield number
