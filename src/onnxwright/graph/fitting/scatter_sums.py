"""Writes a scatter that adds (`index_add_`) as a product with the matrix that says which row goes where.

TensorRT's scatter only replaces. Rows that go to the same place are added by the product, in another order.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_ALIKE = {"Expand", "Tile"}
_TEXT = """(x, i, u) => (y) {{
    zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
    first = Constant <value = int64[1] {{0}}> () second = Constant <value = int64[1] {{1}}> ()
    index = {index}
    n = Shape <start = 0, end = 1> (x) rows = Squeeze (n, first) places = Range (zero, rows, one)
    column = Unsqueeze (places, second) row = Unsqueeze (index, first)
    isthere = Equal (column, row) there = CastLike (isthere, x) sum = MatMul (there, u) y = Add (x, sum)
}}"""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "ScatterElements", _elements) + define_by(model, "ScatterND", _rows)


def _elements(node: ir.Node) -> str:
    """Of two axes, with one index for each row: what `index_add_` is exported as."""
    if not _adds(node) or node.attributes.get_int("axis", 0) != 0 or _rank(node.inputs[0]) != 2:
        return ""
    giver = None if node.inputs[1] is None else node.inputs[1].producer()
    if giver is None or giver.op_type not in _ALIKE:
        return ""
    return _TEXT.format(index="Gather <axis = 1> (i, zero)")


def _rows(node: ir.Node) -> str:
    indices = node.inputs[1]
    is_of_rows = indices is not None and indices.shape is not None and len(indices.shape) == 2 and indices.shape[1] == 1
    if not _adds(node) or not is_of_rows or _rank(node.inputs[0]) not in {1, 2}:
        return ""
    return _TEXT.format(index="Squeeze (i, second)")


def _adds(node: ir.Node) -> bool:
    value = node.inputs[0]
    is_float = value is not None and value.dtype is not None and value.dtype.is_floating_point()
    return is_float and node.attributes.get_string("reduction", "none") == "add"


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


FIT = Fit(
    name="scatter_sums",
    summary="Writes a scatter that adds as a product of matrices.",
    change=_rewrite,
    operators=frozenset({"ScatterND", "ScatterElements"}),
    words=("Unsupported reduction type",),
)
