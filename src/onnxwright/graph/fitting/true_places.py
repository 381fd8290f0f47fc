"""Lists the places of a mask (`NonZero`, `Compress`) by counting them, where what comes of them has no fixed size.

Each place that is true is written where the true ones before it have been counted to, all others behind the end, and
of that as much is kept as was counted. TensorRT takes a size that is computed from values in a `Slice`; it has to wait
for the GPU there. `x[mask]` and `mask.nonzero()` are exported as such.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.coordinates import coordinates
from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

COUNTED = """
    counts = Cast <to = 7> (mask) ends = CumSum (counts, zero) before = Sub (ends, one)
    size = Shape (mask) end = Squeeze (size, start) slot = Where (mask, before, end) each = Range (zero, end, one)
    rising = Concat <axis = 0> (start, ends) count = ReduceMax <keepdims = 1> (rising)
    room = Add (size, one) empty = ConstantOfShape <value = int64[1] {0}> (room)
    written = ScatterElements <axis = 0> (empty, slot, each) found = Slice (written, start, count, start)
"""
"""`found`, the places of what is true in `mask`, bool[n], with `zero` and `one` as scalars, and `start` as a list."""
NUMBERS = """
    zero = Constant <value = int64 {0}> () one = Constant <value = int64 {1}> ()
    start = Constant <value = int64[1] {0}> () flat = Constant <value = int64[1] {-1}> ()
"""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "NonZero", _places) + define_by(model, "Compress", _chosen)


def _places(node: ir.Node) -> str:
    value = node.inputs[0]
    rank = None if value is None or value.shape is None else len(value.shape)
    if not rank:
        return ""
    return f"""(x) => (y) {{ {NUMBERS} truth = Cast <to = 9> (x) mask = Reshape (truth, flat) {COUNTED}
        {coordinates("x", "found", rank)} y = Identity (places) }}"""


def _chosen(node: ir.Node) -> str:
    mask = node.inputs[1]
    if mask is None or (not mask.is_graph_input() and ir.convenience.get_const_tensor(mask) is not None):
        return ""
    axis = node.attributes.get_int("axis") if "axis" in node.attributes else None
    given = "r = Reshape (x, flat)" if axis is None else "r = Identity (x)"
    return f"(x, mask) => (y) {{ {NUMBERS} {COUNTED} {given} y = Gather <axis = {axis or 0}> (r, found) }}"


FIT = Fit(
    name="true_places",
    summary="Lists the places of a mask by counting them, and takes as many as there are.",
    change=_rewrite,
    operators=frozenset({"NonZero", "Compress"}),
)
