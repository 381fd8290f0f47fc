"""Writes a scatter that adds (`index_add_`, `scatter_add_`) as a product with the matrix that says what goes where.

TensorRT's scatter only replaces. What goes to the same place is added by the product, in another order. Of a scatter
that multiplies, or takes the greatest or the least, what goes to a place is reduced, among all with what changes
nothing. Of n places and m that go there, n times m are compared.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit


class _Reduction(NamedTuple):
    operator: str
    reduce: str
    neutral: str
    """What leaves the others as they are."""


_REDUCTIONS: Final = {
    "add": _Reduction("Add", "ReduceSum", "0"),
    "mul": _Reduction("Mul", "ReduceProd", "1"),
    "max": _Reduction("Max", "ReduceMax", "-3.4028234663852886e38"),
    "min": _Reduction("Min", "ReduceMin", "3.4028234663852886e38"),
}
_NUMBERS: Final = """
    zero = Constant <value = int64 {0}> () one = Constant <value = int64 {1}> ()
    first = Constant <value = int64[1] {0}> () last = Constant <value = int64[1] {-1}> ()
    before = Constant <value = int64[1] {-2}> ()
"""
_THERE: Final = """
    isnegative = Less (index, zero) counted = Add (index, count) place = Where (isnegative, counted, index)
    places = Range (zero, count, one) column = Unsqueeze (place, last) isthere = Equal (column, places)
"""
"""Of an index of m places along the last axis, whether each is each of n."""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "ScatterElements", _elements) + define_by(model, "ScatterND", _rows)


def _elements(node: ir.Node) -> str:
    """Along one axis, turned to be the last; the others have to be as long in the index."""
    value, index = node.inputs[0], node.inputs[1]
    reduction = _reduction(node)
    if value is None or value.shape is None or index is None or index.shape is None or reduction is None:
        return ""
    rank = len(value.shape)
    axis = node.attributes.get_int("axis", 0) % rank
    others = [one for one in range(rank) if one != axis]
    if not _is_as_long(value, index, others):
        return ""
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    turned = " ".join(f"{name}t = Transpose <perm = {order}> ({name})" for name in "xiu")
    return f"""(x, i, u) => (y) {{ {_NUMBERS} {turned}
        sizes = Shape (xt) size = Gather (sizes, last) count = Squeeze (size, first) index = Identity (it) {_THERE}
        {_summed(reduction, value.dtype)} t = {reduction.operator} (xt, found) y = Transpose <perm = {order}> (t)
    }}"""


def _is_as_long(value: ir.Value, index: ir.Value, axes: list[int]) -> bool:
    """Whether an index names places in all of a tensor along these axes: by their sizes, or a copy of the index."""
    giver = index.producer()
    is_copied = giver is not None and giver.op_type in {"Expand", "Tile"}
    assert value.shape is not None, "asked for above"
    assert index.shape is not None, "asked for above"
    return is_copied or all(_is_same(value.shape[axis], index.shape[axis]) for axis in axes)


def _is_same(one: int | ir.SymbolicDim, other: int | ir.SymbolicDim) -> bool:
    return one == other and (isinstance(one, int) or one.value is not None)


def _summed(reduction: _Reduction, dtype: ir.DataType | None) -> str:
    """What comes to each place along the last axis: floats are added by a product."""
    if reduction.operator == "Add" and dtype is not None and dtype.is_floating_point():
        return """there = CastLike (isthere, ut) row = Unsqueeze (ut, before) sum = MatMul (row, there)
            found = Squeeze (sum, before)"""
    return f"""each = Unsqueeze (ut, last) n = Constant <value = float {{{reduction.neutral}}}> ()
        none = CastLike (n, ut) kept = Where (isthere, each, none)
        found = {reduction.reduce} <keepdims = 0> (kept, before)"""


def _rows(node: ir.Node) -> str:
    """Places are numbered through, and what follows them laid out in rows."""
    value, index, reduction = node.inputs[0], node.inputs[1], _reduction(node)
    width = None if index is None or index.shape is None else index.shape[-1]
    if value is None or value.shape is None or not isinstance(width, int) or reduction is None:
        return ""
    numbered = [f"k{axis} = Constant <value = int64[1] {{{axis}}}> ()" for axis in range(width)]
    flat = ""
    for axis in range(width):
        numbered += [
            f"p{axis} = Gather <axis = -1> (i, k{axis}) n{axis} = Shape <start = {axis}, end = {axis + 1}> (x)",
            f"b{axis} = Less (p{axis}, zero) c{axis} = Add (p{axis}, n{axis})",
            f"w{axis} = Where (b{axis}, c{axis}, p{axis})",
        ]
        if flat:
            numbered.append(f"m{axis} = Mul ({flat}, n{axis}) f{axis} = Add (m{axis}, w{axis})")
        flat = f"f{axis}" if flat else f"w{axis}"
    return f"""(x, i, u) => (y) {{ {_NUMBERS} {" ".join(numbered)}
        index = Reshape ({flat}, last) shape = Shape (x)
        outer = Shape <start = 0, end = {width}> (x) total = ReduceProd <keepdims = 1> (outer)
        inner = Shape <start = {width}> (x) wide = ReduceProd <keepdims = 1> (inner)
        r = Concat <axis = 0> (total, wide) xr = Reshape (x, r) q = Concat <axis = 0> (last, wide) ur = Reshape (u, q)
        xt = Transpose <perm = [1, 0]> (xr) ut = Transpose <perm = [1, 0]> (ur)
        count = Squeeze (total, first) {_THERE} {_summed(reduction, value.dtype)} t = {reduction.operator} (xt, found)
        back = Transpose <perm = [1, 0]> (t) y = Reshape (back, shape)
    }}"""


def _reduction(node: ir.Node) -> _Reduction | None:
    """How it reduces, if it does; of whole numbers, it adds or multiplies."""
    value, found = node.inputs[0], _REDUCTIONS.get(node.attributes.get_string("reduction", "none") or "")
    if value is None or value.dtype is None or found is None:
        return None
    is_whole = value.dtype in {ir.DataType.INT32, ir.DataType.INT64} and found.operator in {"Add", "Mul"}
    return found if value.dtype.is_floating_point() or is_whole else None


FIT = Fit(
    name="scatter_sums",
    summary="Writes a scatter that adds as a product of matrices, and one that takes the greatest as a reduction.",
    change=_rewrite,
    operators=frozenset({"ScatterND", "ScatterElements"}),
    words=("Unsupported reduction type",),
)
