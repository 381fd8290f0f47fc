"""A graph in float16 or bfloat16 as it would be in float32: what tells how much such a graph rounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.graph.adding import Names, cast_to, values_of

Kinds = Collection[ir.DataType]

_HALVES: Final[Kinds] = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
_WIDE: Final = ir.DataType.FLOAT
_TYPING: Final = ("to", "dtype", "output_dtype")
"""Attributes that name the type of what a node gives."""


def has_halves(model: ir.Model, kinds: Kinds = _HALVES) -> bool:
    """Whether anything in a graph, or in its functions, is of one of these types."""
    held = (value for graph in _graphs(model) for value in (*graph.inputs, *graph.initializers.values()))
    return any(value.dtype in kinds for value in held) or any(_wider(node, kinds) for node in _nodes(model))


def without_halves(model: ir.Model, kinds: Kinds = _HALVES) -> bool:
    """Has a graph compute and answer in float32 what it does in one of these types; returns whether there is such.

    Its inputs keep their types. The numbers of weights and constants stay what they are.
    """
    if not has_halves(model, kinds):
        return False
    given = [value for value in model.graph.inputs if value.dtype in kinds and value.const_value is None]
    for value in {value for graph in _graphs(model) for value in values_of(graph)}.difference(given):
        _retype(value, kinds)
    for node in _nodes(model):
        node.attributes.update(_wider(node, kinds))
    names = Names.of_values(model)
    for value in given:
        _cast_at_first(model.graph, value, names.free(f"{value.name}_float32"))
    return True


def _graphs(model: ir.Model) -> Iterator[ir.Graph]:
    yield from model.graphs()
    for function in model.functions.values():
        yield function.graph
        yield from function.subgraphs()


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    return (node for graph in _graphs(model) for node in graph)


def _retype(value: ir.Value, kinds: Kinds) -> None:
    if value.const_value is not None and value.const_value.dtype in kinds:
        value.const_value = _widened(value.const_value)
    if value.dtype in kinds:
        value.dtype = _WIDE


def _wider(node: ir.Node, kinds: Kinds) -> dict[str, ir.Attr]:
    """The attributes of a node that hold a half, or name it, in float32."""
    found: dict[str, ir.Attr] = {}
    for name, given in node.attributes.items():
        if given.is_ref():
            continue
        if given.type == ir.AttributeType.TENSOR and given.as_tensor().dtype in kinds:
            found[name] = ir.AttrTensor(name, _widened(given.as_tensor()))
        elif name in _TYPING and given.type == ir.AttributeType.INT and given.as_int() in kinds:
            found[name] = ir.AttrInt64(name, int(_WIDE))
    return found


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """The numbers of a tensor in float32, made anew each time that they are asked for."""

    def make() -> ir.TensorProtocol:
        return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)

    return ir.LazyTensor(make, _WIDE, ir.Shape(tensor.shape.numpy()), name=tensor.name)


def _cast_at_first(graph: ir.Graph, value: ir.Value, name: str) -> None:
    """Has all that takes an input take it in float32."""
    cast = cast_to(value, _WIDE, name)
    value.replace_all_uses_with(cast.outputs[0], replace_graph_outputs=True)
    cast.replace_input_with(0, value)
    if graph.num_nodes():
        graph.insert_before(graph[0], cast)
    else:
        graph.append(cast)
