"""Writes a scatter that adds (`index_add_`) as a product with the matrix that says which row goes where.

TensorRT's scatter only replaces. Rows that go to the same place are added by the product, in another order. Of a
scatter that takes the greatest or the least, what goes to a place is reduced, among all with what changes nothing.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_ALIKE = {"Expand", "Tile"}
_REDUCTIONS = {"add": "", "max": "-3.4028234663852886e38", "min": "3.4028234663852886e38"}
"""How a scatter may reduce, and what leaves the greatest and the least as they are."""
_PLACES = """
    zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
    first = Constant <value = int64[1] {{0}}> () second = Constant <value = int64[1] {{1}}> ()
    index = {index}
    n = Shape <start = 0, end = 1> (x) rows = Squeeze (n, first) places = Range (zero, rows, one)
    column = Unsqueeze (places, second) row = Unsqueeze (index, first) isthere = Equal (column, row)
"""
_SUM = "there = CastLike (isthere, x) sum = MatMul (there, u) y = Add (x, sum)"
_EXTREME = """
    each = Unsqueeze (u, first) third = Constant <value = int64[1] {{2}}> () taken = {taken}
    least = Constant <value = float {{{neutral}}}> () none = CastLike (least, x) kept = Where (taken, each, none)
    found = {reduce} <keepdims = 0> (kept, second) y = {combine} (x, found)
"""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "ScatterElements", _elements) + define_by(model, "ScatterND", _rows)


def _elements(node: ir.Node) -> str:
    """Along one axis, or of two with one index for each row: what `index_add_` and `scatter_reduce_` become."""
    rank = _rank(node.inputs[0])
    if node.attributes.get_int("axis", 0) not in {0, -(rank or 0)} or rank not in {1, 2}:
        return ""
    giver = None if node.inputs[1] is None else node.inputs[1].producer()
    if rank == 2 and (giver is None or giver.op_type not in _ALIKE):
        return ""
    return _text(node, "Identity (i)" if rank == 1 else "Gather <axis = 1> (i, zero)", rank)


def _rows(node: ir.Node) -> str:
    indices, rank = node.inputs[1], _rank(node.inputs[0])
    is_of_rows = indices is not None and indices.shape is not None and len(indices.shape) == 2 and indices.shape[1] == 1
    return _text(node, "Squeeze (i, second)", rank) if is_of_rows and rank in {1, 2} else ""


def _text(node: ir.Node, index: str, rank: int | None) -> str:
    value, reduction = node.inputs[0], node.attributes.get_string("reduction", "none")
    if value is None or value.dtype is None or not value.dtype.is_floating_point() or reduction not in _REDUCTIONS:
        return ""
    places = _PLACES.format(index=index)
    if reduction == "add":
        return f"(x, i, u) => (y) {{ {places} {_SUM} }}"
    combine = reduction.capitalize()
    extreme = _EXTREME.format(
        taken="Identity (isthere)" if rank == 1 else "Unsqueeze (isthere, third)",
        neutral=_REDUCTIONS[reduction],
        reduce=f"Reduce{combine}",
        combine=combine,
    )
    return f"(x, i, u) => (y) {{ {places} {extreme} }}"


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


FIT = Fit(
    name="scatter_sums",
    summary="Writes a scatter that adds as a product of matrices, and one that takes the greatest as a reduction.",
    change=_rewrite,
    operators=frozenset({"ScatterND", "ScatterElements"}),
    words=("Unsupported reduction type",),
)
