"""Where a graph computes in float64."""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.passes import cloned
from onnxwright.graph.typed import infer_types

_SINGLE, _DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE


def in_doubles(model: ir.Model) -> list[ir.Node]:
    """Returns the nodes that compute in float64: all that have it, but for casts between it and float32."""
    if not any(map(_begins, model.graph.all_nodes())) and not any(map(_is_double, _held(model))):
        return []
    typed = cloned(model)
    infer_types(typed)
    pairs = zip(model.graph.all_nodes(), typed.graph.all_nodes(), strict=True)
    return [node for node, copy in pairs if _computes(copy)]


def is_rounding(node: ir.Node) -> bool:
    """Whether a node makes float32 of float64, or float64 of float32."""
    value = node.inputs[0] if node.op_type == "Cast" and not node.domain else None
    to = ir.DataType(node.attributes.get_int("to", 0)) if value is not None else None
    return value is not None and {value.dtype, to} == {_SINGLE, _DOUBLE}


def _computes(node: ir.Node) -> bool:
    has = any(_is_double(value) for value in (*node.inputs, *node.outputs) if value is not None)
    return has and node.op_type != "Constant" and not is_rounding(node)


def _begins(node: ir.Node) -> bool:
    """Whether a node has float64 in its attributes: what it makes, or casts to."""
    given = node.attributes
    kinds = [one.value for name, one in given.items() if name in {"to", "dtype"} and one.type == ir.AttributeType.INT]
    tensors = [one.value for one in given.values() if one.type == ir.AttributeType.TENSOR]
    return int(_DOUBLE) in kinds or any(one.dtype == _DOUBLE for one in tensors)


def _held(model: ir.Model) -> list[ir.Value]:
    graphs = list(model.graphs())
    return [value for graph in graphs for value in (*graph.inputs, *graph.initializers.values())]


def _is_double(value: ir.Value) -> bool:
    return value.dtype == _DOUBLE
