"""Writes `MaxUnpool` (`nn.MaxUnpool2d`) as a scatter into zeros.

With an `output_shape` it stays: ONNX Runtime counts places in that, and ONNX in the shape without it.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by, whole_numbers
from onnxwright.graph.fitting import Fit


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "MaxUnpool", _text)


def _text(node: ir.Node) -> str:
    given = node.attributes
    if len(node.inputs) > 2:
        return ""
    kernel = list(given.get_ints("kernel_shape") or [])
    strides = list(given.get_ints("strides") or [1] * len(kernel))
    pads = list(given.get_ints("pads") or [0] * (2 * len(kernel)))
    more = [
        size - stride - before - after
        for size, stride, before, after in zip(kernel, strides, pads[: len(kernel)], pads[len(kernel) :], strict=True)
    ]
    return f"""(x, places) => (y) {{
        flat = Constant <value = int64[1] {{-1}}> () steps = {whole_numbers(strides)} more = {whole_numbers(more)}
        outer = Shape <end = 2> (x)
        sizes = Shape <start = 2> (x) stepped = Mul (sizes, steps) grown = Add (stepped, more)
        shape = Concat <axis = 0> (outer, grown) zero = Constant <value = float {{0}}> () filling = CastLike (zero, x)
        total = ReduceProd <keepdims = 1> (shape) empty = Expand (filling, total) values = Reshape (x, flat)
        where = Reshape (places, flat) written = ScatterElements <axis = 0> (empty, where, values)
        y = Reshape (written, shape)
    }}"""


FIT = Fit(
    name="put_back",
    summary="Writes `MaxUnpool` as a scatter into zeros.",
    change=_rewrite,
    operators=frozenset({"MaxUnpool"}),
)
