"""Writes `x[mask] = number` as `Where`, for which TensorRT needs no size that depends on values.

The exporter lists the places (`NonZero`), and scatters the number to them (`ScatterND`).
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_ALIKE = ("Expand", "ConstantOfShape", "Tile")


def _rewrite(model: ir.Model) -> int:
    masks = {node: _mask(node) for graph in model.graphs() for node in graph if node.op_type == "ScatterND"}
    found = {node: mask for node, mask in masks.items() if mask is not None and _number(node) is not None}
    for node, mask in found.items():
        node.replace_input_with(1, mask)
        node.replace_input_with(2, _number(node))
    count = define_by(model, "ScatterND", lambda node: _text(node, found[node]) if node in found else "")
    if count:
        RemoveUnusedNodesPass()(model)
    return count


def _text(node: ir.Node, mask: ir.Value) -> str:
    rank, all_axes = (len(value.shape or ()) for value in (mask, node.inputs[0]) if value is not None)
    axes = ", ".join(str(axis) for axis in range(rank, all_axes))
    is_bool = "c = Cast <to = 9> (m)"
    column = (
        f"t = Constant <value = int64[{all_axes - rank}] {{{axes}}}> () w = Unsqueeze (c, t)"
        if axes
        else "w = Identity (c)"
    )
    return f"(x, m, u) => (y) {{ {is_bool} {column} y = Where (w, u, x) }}"


def _mask(node: ir.Node) -> ir.Value | None:
    """The mask whose places are the indices: `Transpose(NonZero(mask))`, with both ranks known."""
    turned = None if node.inputs[1] is None else node.inputs[1].producer()
    listed = (
        turned.inputs[0].producer()
        if turned is not None and turned.op_type == "Transpose" and turned.inputs[0]
        else None
    )
    if listed is None or listed.op_type != "NonZero" or node.attributes.get_string("reduction", "none") != "none":
        return None
    mask, data = listed.inputs[0], node.inputs[0]
    is_known = mask is not None and mask.shape is not None and data is not None and data.shape is not None
    return mask if is_known else None


def _number(node: ir.Node) -> ir.Value | None:
    """What is written everywhere alike: a tensor of one element, repeated."""
    value = node.inputs[2]
    while value is not None:
        if value.shape is not None and all(size == 1 for size in value.shape):
            return value
        giver = value.producer()
        if giver is None or giver.op_type not in _ALIKE:
            return None
        value = giver.inputs[0] if giver.op_type != "ConstantOfShape" else None
    return None


FIT = Fit(
    name="masked_writes",
    summary="Writes a number at the places of a mask by `Where`.",
    change=_rewrite,
    operators=frozenset({"NonZero"}),
)
