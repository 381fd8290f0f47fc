"""Computes whole numbers of 8 and 16 bits in 32 bits, and unsigned ones in 64: TensorRT has only these inside a graph.

A cast (`x.to(torch.uint8)`) keeps the bits that the type has, as do sums, differences and products. What else is
computed of them doesn't overflow any more, which only the proof can tell of. What goes in or comes out keeps its type.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.graph.adding import held
from onnxwright.graph.bounding import cast_around
from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_WIDER: Final = {
    ir.DataType.INT8: ir.DataType.INT32,
    ir.DataType.UINT8: ir.DataType.INT32,
    ir.DataType.INT16: ir.DataType.INT32,
    ir.DataType.UINT16: ir.DataType.INT32,
    ir.DataType.UINT32: ir.DataType.INT64,
}
_OVERFLOWING: Final = ("Add", "Sub", "Mul", "Neg")
_QUANTIZERS: Final = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def _rewrite(model: ir.Model) -> int:
    nodes = list(model.graph.all_nodes())
    if any(node.op_type in _QUANTIZERS for node in nodes):
        return 0
    narrow = {node: value.dtype for node in nodes for value in node.outputs[:1] if value.dtype in _WIDER}
    bounds = cast_around(model, _WIDER, leaving=_is_cast)
    count = len(bounds) + sum(
        define_by(model, operator, lambda node: _text(node, narrow.get(node))) for operator in ("Cast", *_OVERFLOWING)
    )
    if not count:
        return 0
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if value.dtype in _WIDER and value.const_value is not None and not value.is_graph_input():
                _widen(graph, name, value)
    for value in (value for node in model.graph.all_nodes() for value in node.outputs):
        if value.dtype in _WIDER and not value.is_graph_output():
            value.type = ir.TensorType(_WIDER[value.dtype])
    return count


def _is_cast(node: ir.Node) -> bool:
    return node.op_type == "Cast" and not node.domain


def _text(node: ir.Node, to: ir.DataType | None) -> str:
    """What a node gives, with the bits that its type has; of other types, nothing changes."""
    if to is None or (_is_cast(node) and _is_in(node, to)):
        return ""
    bits = to.bitwidth
    wide = to if node.outputs[0].is_graph_output() else _WIDER[to]
    names = ", ".join(f"i{place}" for place in range(len(node.inputs)))
    made = "whole = Cast <to = 7> (i0)"
    if not _is_cast(node):
        made = f"given = {node.op_type} ({names}) whole = Cast <to = 7> (given)"
    shift = 0 if to.name.startswith("U") else 1 << (bits - 1)
    # `Mod` has the sign of its second operand: of what lies below zero it counts from above, as the bits do.
    return f"""({names}) => (y) {{ {made}
        s = Constant <value = int64 {{{shift}}}> () n = Constant <value = int64 {{{1 << bits}}}> ()
        a = Add (whole, s) b = Mod (a, n) c = Sub (b, s) y = Cast <to = {int(wide)}> (c)
    }}"""


def _is_in(node: ir.Node, to: ir.DataType) -> bool:
    """Whether what is cast has that type already."""
    return node.inputs[0] is None or node.inputs[0].dtype == to


def _widen(graph: ir.Graph, name: str, value: ir.Value) -> None:
    assert value.const_value is not None, "asked for above"
    assert value.dtype is not None, "asked for above"
    to = _WIDER[value.dtype]
    numbers = value.const_value.numpy().astype(np.int32 if to == ir.DataType.INT32 else np.int64)
    wide = held(graph, ir.tensor(numbers, to, name=f"{name}_in_{to.name}"))
    ir.convenience.replace_all_uses_with(value, wide)
    if not value.is_graph_output():
        del graph.initializers[name]


FIT = Fit(
    name="wide_numbers",
    summary="Computes whole numbers of few bits, and unsigned ones, in more bits.",
    change=_rewrite,
    words=(
        "UINT8",
        "UInt8",
        "Unsupported data type for the Cast operator",
        "Failed to convert ONNX date type",
        "Quantized constant",
    ),
)
