"""Writes `Unique` (`x.unique()`) as a comparison of each with each: those with no equal before them are kept.

Of n elements, or of n rows along an axis, n times n are compared. How many are kept is counted as in `true_places`.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_NAMES: Final = ("y", "found", "inverse", "counts")
_ROWS: Final = """
    first = Transpose <perm = {order}> (x) size = Shape <end = 1> (first) pair = Concat <axis = 0> (size, last)
    rows = Reshape (first, pair) mine = Unsqueeze (rows, middle) others = Unsqueeze (rows, start)
    same = Equal (mine, others) ones = Cast <to = 6> (same) least = ReduceMin <keepdims = 0> (ones, last)
    is_equal = Cast <to = 9> (least)
"""
_BY_ROWS: Final = """
    differs = Not (same) marks = Cast <to = 6> (differs) column = ArgMax <axis = -1, keepdims = 1> (marks)
    smaller = Less (others, mine) smaller_ones = Cast <to = 6> (smaller)
    by_column = GatherElements <axis = -1> (smaller_ones, column) flattened = Squeeze (by_column, last)
    is_less = Cast <to = 9> (flattened)
"""
"""Rows are ordered by the first column in which they differ."""
_ELEMENTS: Final = """
    rows = Reshape (x, last) size = Shape (rows) mine = Unsqueeze (rows, middle) others = Unsqueeze (rows, start)
    is_equal = Equal (mine, others)
"""
_AS_THEY_COME: Final = """
    here = Where (is_equal, across, end) firstly = ReduceMin <keepdims = 1> (here, last)
    is_less = Less (across, firstly)
"""
_KEPT: Final = """
    is_earlier = Less (across, down) repeats = And (is_equal, is_earlier) repeated = Cast <to = 7> (repeats)
    times = ReduceSum <keepdims = 0> (repeated, last) is_first = Equal (times, zero)
    kept = Unsqueeze (is_first, start) {less} below = And (is_less, kept) belows = Cast <to = 7> (below)
    inverse = ReduceSum <keepdims = 0> (belows, last) slot = Where (is_first, inverse, end)
    firsts = Cast <to = 7> (is_first) ends = CumSum (firsts, zero)
    rising = Concat <axis = 0> (start, ends) count = ReduceMax <keepdims = 1> (rising)
    room = Add (size, one) empty = ConstantOfShape <value = int64[1] {{0}}> (room)
    written = ScatterElements <axis = 0> (empty, slot, each) found = Slice (written, start, count, start)
    equals = Cast <to = 7> (is_equal) every = ReduceSum <keepdims = 0> (equals, last) counts = Gather (every, found)
"""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "Unique", _text)


def _text(node: ir.Node) -> str:
    value = node.inputs[0]
    if value is None or value.shape is None or value.dtype is None or value.dtype == ir.DataType.STRING:
        return ""
    is_sorted, rank = node.attributes.get_int("sorted", 1) == 1, len(value.shape)
    smaller, given, rows = "is_less = Less (others, mine)", _ELEMENTS, "rows"
    axis = 0
    if "axis" in node.attributes:
        axis = node.attributes.get_int("axis", 0) % rank
        order = [axis, *(one for one in range(rank) if one != axis)]
        smaller, given, rows = _BY_ROWS, _ROWS.format(order=order), "x"
    less = smaller if is_sorted else _AS_THEY_COME
    return f"""(x) => ({", ".join(_NAMES[: len(node.outputs)])}) {{
        zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
        start = Constant <value = int64[1] {{0}}> () middle = Constant <value = int64[1] {{1}}> ()
        last = Constant <value = int64[1] {{-1}}> () {given}
        end = Squeeze (size, start) each = Range (zero, end, one)
        down = Unsqueeze (each, middle) across = Unsqueeze (each, start) {_KEPT.format(less=less)}
        y = Gather <axis = {axis}> ({rows}, found)
    }}"""


FIT = Fit(
    name="unique_rows",
    summary="Writes `Unique` as a comparison of each with each.",
    change=_rewrite,
    operators=frozenset({"Unique"}),
)
