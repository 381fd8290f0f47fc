"""Writes a `Resize` to sizes of some axes with the sizes of all: TensorRT mistakes others that aren't known."""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by, written
from onnxwright.graph.fitting import Fit


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "Resize", _text)


def _text(node: ir.Node) -> str:
    given, shape = node.attributes, None if node.inputs[0] is None else node.inputs[0].shape
    axes = given.get_ints("axes") or []
    is_stretched = given.get_string("keep_aspect_ratio_policy", "stretch") == "stretch"
    if shape is None or not axes or len(node.inputs) < 4 or node.inputs[1] is not None or not is_stretched:
        return ""
    counted = [one % len(shape) for one in axes]
    parts = []
    for axis in range(len(shape)):
        if axis in counted:
            parts.append(
                f"k{axis} = Constant <value = int64[1] {{{counted.index(axis)}}}> () s{axis} = Gather (sizes, k{axis})"
            )
        else:
            parts.append(f"s{axis} = Shape <start = {axis}, end = {axis + 1}> (x)")
    kept = written(node, [name for name in given if name not in {"axes", "keep_aspect_ratio_policy"}])
    names = ", ".join(f"s{axis}" for axis in range(len(shape)))
    return f"""(x, roi, scales, sizes) => (y) {{ {" ".join(parts)} every = Concat <axis = 0> ({names})
        y = Resize <{kept}> (x, roi, scales, every) }}"""


FIT = Fit(
    name="whole_sizes",
    summary="Writes a `Resize` to sizes of some axes with the sizes of all.",
    change=_rewrite,
    words=("inherently negative length",),
)
