"""Writes a product of a vector and matrices (`vector @ batch`) as one of a matrix with one row, or one column."""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "MatMul", _text)


def _text(node: ir.Node) -> str:
    ranks = [0 if value is None or value.shape is None else len(value.shape) for value in node.inputs]
    if 1 not in ranks or max(ranks) < 3:
        return ""
    axis = -2 if ranks[0] == 1 else -1
    made = "f = Unsqueeze (a, first) p = MatMul (f, b)" if axis == -2 else "f = Unsqueeze (b, last) p = MatMul (a, f)"
    return f"""(a, b) => (y) {{
        first = Constant <value = int64[1] {{0}}> () last = Constant <value = int64[1] {{-1}}> ()
        one = Constant <value = int64[1] {{{axis}}}> () {made} y = Squeeze (p, one)
    }}"""


FIT = Fit(
    name="vector_products",
    summary="Writes a product of a vector and matrices as one of matrices.",
    change=_rewrite,
    words=("reshape changes volume",),
)
