"""The branches of a graph that values decide, and graphs in which one of them answers something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

_OF_SHAPES: Final = {"Shape", "Size"}


def count_branches(model: ir.Model) -> int:
    """Returns how many branches of the graph values of its inputs decide, those inside of others included."""
    return sum(1 for _ in _branches(model))


def spoiled_branch(model: ir.Model, number: int) -> tuple[ir.Model, ir.Node, str]:
    """Returns a copy of a graph in which one branch answers something else; its `If`, and which side it is.

    Where the two graphs always answer alike, the branch is never taken, or nothing depends on it.
    """
    copy = model.clone()
    node, side = next(one for place, one in enumerate(_branches(copy)) if place == number)
    graph = node.attributes[side].as_graph()
    for place, output in enumerate(list(graph.outputs)):
        kind = output.dtype or node.outputs[place].dtype
        if kind is not None:
            graph.outputs[place] = _spoiled(graph, output, kind, f"spoiled_{place}")
    return copy, node, side.removesuffix("_branch")


def _branches(model: ir.Model) -> Iterator[tuple[ir.Node, str]]:
    for node in model.graph.all_nodes():
        if node.op_type == "If" and _is_decided_by_values(node):
            yield from ((node, side) for side in ("then_branch", "else_branch"))


def _is_decided_by_values(node: ir.Node) -> bool:
    """Whether what an `If` asks comes from more than sizes; what a loop hands to its body may be anything."""
    waiting, seen = [node.inputs[0]], set[ir.Value]()
    while waiting:
        value = waiting.pop()
        if value is None or value in seen:
            continue
        seen.add(value)
        producer = value.producer()
        if producer is None:
            if value.const_value is None:
                return True
        elif producer.op_type not in _OF_SHAPES:
            waiting += producer.inputs
            waiting += [one for inner in _bodies(producer) for one in inner.outputs]
    return False


def _bodies(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()


def _spoiled(graph: ir.Graph, output: ir.Value, kind: ir.DataType, name: str) -> ir.Value:
    """Adds nodes that make another value of an output: its opposite, or its successor."""
    if kind == ir.DataType.BOOL:
        nodes = [ir.node("Not", [output], name=name)]
    else:
        one = ir.node("Constant", [], attributes={"value": ir.tensor([1], ir.DataType.FLOAT)}, name=f"{name}_one")
        like = ir.node("Cast", [one.outputs[0]], attributes={"to": int(kind)}, name=f"{name}_cast")
        zero = ir.node("Constant", [], attributes={"value": ir.tensor([0], ir.DataType.INT64)}, name=f"{name}_zero")
        scalar = ir.node("Squeeze", [like.outputs[0], zero.outputs[0]], name=f"{name}_scalar")
        nodes = [one, like, zero, scalar, ir.node("Add", [output, scalar.outputs[0]], name=name)]
    for node in nodes:
        node.outputs[0].name = f"{node.name}_output"
    graph.extend(nodes)
    nodes[-1].outputs[0].dtype = kind
    return nodes[-1].outputs[0]
