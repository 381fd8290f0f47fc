"""Computes whole numbers of 8 and 16 bits in 32 bits, and unsigned ones in 64: TensorRT has only these inside a graph.

A cast (`x.to(torch.uint8)`) keeps the bits that the type has. What is computed of them afterwards doesn't overflow any
more, which only the proof can tell of.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.graph.adding import held
from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_WIDER: Final = {
    ir.DataType.UINT8: ir.DataType.INT32,
    ir.DataType.INT16: ir.DataType.INT32,
    ir.DataType.UINT16: ir.DataType.INT32,
    ir.DataType.UINT32: ir.DataType.INT64,
}
_QUANTIZERS: Final = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def _rewrite(model: ir.Model) -> int:
    is_quantized = any(node.op_type in _QUANTIZERS for node in model.graph.all_nodes())
    count = 0 if is_quantized or _is_shown(model) else define_by(model, "Cast", _text)
    if not count:
        return 0
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if value.dtype in _WIDER and value.const_value is not None:
                _widen(graph, name, value)
    for value in (value for node in model.graph.all_nodes() for value in node.outputs):
        if value.dtype in _WIDER:
            value.type = ir.TensorType(_WIDER[value.dtype])
    return count


def _is_shown(model: ir.Model) -> bool:
    """Whether such numbers go in or out, where their type can't be another."""
    return any(value.dtype in _WIDER for value in (*model.graph.inputs, *model.graph.outputs))


def _text(node: ir.Node) -> str:
    value, to = node.inputs[0], ir.DataType(node.attributes.get_int("to", 0))
    if to not in _WIDER or value is None or value.dtype is None or value.dtype in _WIDER:
        return ""
    bits, wide = to.bitwidth, int(_WIDER[to])
    shift = 0 if to.name.startswith("U") else 1 << (bits - 1)
    # `Mod` has the sign of its second operand: of what lies below zero it counts from above, as the bits do.
    return f"""(x) => (y) {{ whole = Cast <to = 7> (x)
        s = Constant <value = int64 {{{shift}}}> () n = Constant <value = int64 {{{1 << bits}}}> ()
        a = Add (whole, s) b = Mod (a, n) c = Sub (b, s) y = Cast <to = {wide}> (c)
    }}"""


def _widen(graph: ir.Graph, name: str, value: ir.Value) -> None:
    assert value.const_value is not None, "asked for above"
    assert value.dtype is not None, "asked for above"
    to = _WIDER[value.dtype]
    numbers = value.const_value.numpy().astype(np.int32 if to == ir.DataType.INT32 else np.int64)
    wide = held(graph, ir.tensor(numbers, to, name=f"{name}_in_{to.name}"))
    ir.convenience.replace_all_uses_with(value, wide)


FIT = Fit(
    name="wide_numbers",
    summary="Computes whole numbers of few bits, and unsigned ones, in more bits.",
    change=_rewrite,
    words=("UINT8 types for intermediate tensors", "Unsupported data type for the Cast operator"),
)
