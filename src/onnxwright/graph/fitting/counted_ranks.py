"""Sorts by counting, for each element, those that come before it, where there are more than TensorRT's `TopK` sorts.

It is quadratic: of n elements, n comparisons each. Of equal elements the first comes first, as ONNX has it.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "TopK", _text)


def _text(node: ir.Node) -> str:
    value = node.inputs[0]
    rank = None if value is None or value.shape is None else len(value.shape)
    if value is None or rank is None or node.attributes.get_int("axis", -1) % rank != rank - 1:
        return ""
    earlier = "Greater" if node.attributes.get_int("largest", 1) else "Less"
    numbers = "f = Cast <to = 1> (x)" if value.dtype is not None and value.dtype.is_integer() else "f = Identity (x)"
    return f"""(x, k) => (values, indices) {{
        {numbers}
        last = Constant <value = int64[1] {{-1}}> () inner = Constant <value = int64[1] {{-2}}> ()
        zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
        start = Constant <value = int64[1] {{0}}> ()
        shape = Shape (x) size = Shape <start = -1> (x) n = Squeeze (size, start)
        mine = Unsqueeze (f, last) others = Unsqueeze (f, inner)
        isbefore = {earlier} (others, mine) isequal = Equal (others, mine)
        places = Range (zero, n, one) column = Unsqueeze (places, last) row = Unsqueeze (places, start)
        isfirst = Less (row, column) istie = And (isequal, isfirst) counts = Or (isbefore, istie)
        ones = Cast <to = 7> (counts) rank = ReduceSum <keepdims = 0> (ones, last)
        every = Expand (places, shape) order = ScatterElements <axis = -1> (every, rank, every)
        indices = Slice (order, start, k, last) values = GatherElements <axis = -1> (x, indices)
    }}"""


FIT = Fit(
    name="counted_ranks",
    summary="Sorts more elements than `TopK` takes by counting those before each.",
    change=_rewrite,
    words=("K exceeds the maximum",),
)
