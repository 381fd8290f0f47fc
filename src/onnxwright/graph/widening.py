"""A graph in float16 or bfloat16 as it would be in float32: what tells how much such a graph rounds."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from onnxwright.graph.adding import Names

_HALVES: Final = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
_WIDE: Final = ir.DataType.FLOAT
_TYPING: Final = ("to", "dtype", "output_dtype")
"""Attributes that name the type of what a node gives."""


def without_halves(model: ir.Model) -> bool:
    """Has a graph compute and answer in float32 what it does in float16 or bfloat16; returns whether there is such.

    Its inputs keep their types. The numbers of weights and constants stay what they are.
    """
    InlinePass()(model)
    given = [value for value in model.graph.inputs if value.dtype in _HALVES and value.const_value is None]
    values = [value for graph in model.graphs() for value in _values(graph)]
    nodes = list(model.graph.all_nodes())
    changed = [_retyped(value) for value in values if value not in given] + [
        _retyped_attributes(node) for node in nodes
    ]
    names = Names.of_values(model)
    for value in given:
        _cast_at_first(model.graph, value, names.free(f"{value.name}_float32"))
    return bool(given) or any(changed)


def _values(graph: ir.Graph) -> list[ir.Value]:
    computed = [value for node in graph for value in node.outputs]
    return list(dict.fromkeys((*graph.inputs, *graph.initializers.values(), *computed)))


def _retyped(value: ir.Value) -> bool:
    if value.const_value is not None and value.const_value.dtype in _HALVES:
        value.const_value = _widened(value.const_value)
    if value.dtype not in _HALVES:
        return False
    value.dtype = _WIDE
    return True


def _retyped_attributes(node: ir.Node) -> bool:
    changed = {}
    for name, given in node.attributes.items():
        if given.type == ir.AttributeType.TENSOR and given.as_tensor().dtype in _HALVES:
            changed[name] = ir.AttrTensor(name, _widened(given.as_tensor()))
        elif name in _TYPING and given.type == ir.AttributeType.INT and given.as_int() in _HALVES:
            changed[name] = ir.AttrInt64(name, int(_WIDE))
    node.attributes.update(changed)
    return bool(changed)


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """The numbers of a tensor in float32, made anew each time that they are asked for."""

    def make() -> ir.TensorProtocol:
        return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)

    return ir.LazyTensor(make, _WIDE, ir.Shape(tensor.shape.numpy()), name=tensor.name)


def _cast_at_first(graph: ir.Graph, value: ir.Value, name: str) -> None:
    """Has all that takes an input take it in float32."""
    cast = ir.node("Cast", [value], attributes={"to": int(_WIDE)}, name=f"{name}/cast")
    cast.outputs[0].name, cast.outputs[0].dtype, cast.outputs[0].shape = name, _WIDE, value.shape
    value.replace_all_uses_with(cast.outputs[0], replace_graph_outputs=True)
    cast.replace_input_with(0, value)
    if graph.num_nodes():
        graph.insert_before(graph[0], cast)
    else:
        graph.append(cast)
