"""Writes `EyeLike` of a matrix whose size isn't known (`torch.eye(x.shape[1])`) as a comparison of rows and columns."""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "EyeLike", _text)


def _text(node: ir.Node) -> str:
    value = node.inputs[0]
    given = ir.DataType.FLOAT if value is None or value.dtype is None else value.dtype
    kind = node.attributes.get_int("dtype", int(given))
    return f"""(x) => (y) {{
        zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
        k = Constant <value = int64 {{{node.attributes.get_int("k", 0)}}}> ()
        shape = Shape (x) rows = Gather (shape, zero) columns = Gather (shape, one)
        row = Range (zero, rows, one) column = Range (zero, columns, one) shifted = Add (row, k)
        last = Constant <value = int64[1] {{1}}> () first = Constant <value = int64[1] {{0}}> ()
        down = Unsqueeze (shifted, last) across = Unsqueeze (column, first)
        isthere = Equal (down, across) y = Cast <to = {int(kind)}> (isthere)
    }}"""


FIT = Fit(
    name="identity_matrices",
    summary="Writes `EyeLike` as a comparison of rows and columns.",
    change=_rewrite,
    operators=frozenset({"EyeLike"}),
)
