"""Writes `any` and `all` as ONNX has them since opset 20, `ReduceMax` and `ReduceMin` of truths, with whole numbers."""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by, written
from onnxwright.graph.fitting import Fit

_OPERATORS = ("ReduceMax", "ReduceMin")
_ZERO = "zero = Constant <value = int32 {0}> ()"
"""Of nothing, the greatest is the least number that there is: false, as `any` of nothing; and the least true."""


def _rewrite(model: ir.Model) -> int:
    return sum(define_by(model, operator, _text) for operator in _OPERATORS)


def _text(node: ir.Node) -> str:
    value = node.inputs[0]
    if value is None or value.dtype != ir.DataType.BOOL:
        return ""
    told, inputs = f"<{written(node)}>" if node.attributes else "", ["x", "axes"][: len(node.inputs)]
    given = ", ".join(["n", *inputs[1:]])
    reduced = f"r = {node.op_type} {told} ({given})"
    return f"({', '.join(inputs)}) => (y) {{ {_ZERO} n = Cast <to = 6> (x) {reduced} y = Greater (r, zero) }}"


FIT = Fit(
    name="truths",
    summary="Writes `any` and `all` of truths with whole numbers.",
    change=_rewrite,
    words=("unsupported input type of BOOL",),
)
