"""The branches of a graph that values decide, and graphs in which one of them answers something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.graph.cutting import bodies

_OF_SHAPES: Final = {"Shape", "Size", "SequenceLength"}
_COUNTING: Final = {"NonZero", "Unique", "Compress", "NonMaxSuppression"}
"""Operators that answer as much as values say."""
_SIDES: Final = {"If": ("then_branch", "else_branch"), "Loop": ("body",)}
_ASKING: Final = {"If": 1, "Loop": 2}
"""How many of its first inputs decide."""


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
    first = len(graph.outputs) - len(node.outputs)  # the body of a loop answers first whether it goes on
    for place, output in list(enumerate(graph.outputs))[first:]:
        kind = output.dtype or node.outputs[place - first].dtype
        if kind is not None:
            graph.outputs[place] = _spoiled(graph, output, kind, f"spoiled_{place}")
    return copy, node, side.removesuffix("_branch")


def _branches(model: ir.Model) -> Iterator[tuple[ir.Node, str]]:
    for node in model.graph.all_nodes():
        if node.op_type in _SIDES and _is_decided_by_values(node.inputs[: _ASKING[node.op_type]]):
            yield from ((node, side) for side in _SIDES[node.op_type])


def _is_decided_by_values(asked: Sequence[ir.Value | None]) -> bool:
    """Whether what is asked comes from more than sizes; what a loop hands to its body may be anything."""
    waiting, seen = list(asked), set[ir.Value]()
    while waiting:
        value = waiting.pop()
        if value is None or value in seen:
            continue
        seen.add(value)
        producer = value.producer()
        if producer is None:
            if value.const_value is None:
                return True
        elif producer.op_type in _COUNTING:
            return True
        elif producer.op_type not in _OF_SHAPES or _is_counted(producer):
            waiting += producer.inputs
            waiting += [one for inner in bodies(producer) for one in inner.outputs]
    return False


def _is_counted(node: ir.Node) -> bool:
    """Whether a size depends on values: of what `NonZero` answers, say."""
    waiting, seen = list(node.inputs), set[ir.Value]()
    while waiting:
        value = waiting.pop()
        producer = value.producer() if value is not None else None
        if value is None or producer is None or value in seen:
            continue
        seen.add(value)
        if producer.op_type in _COUNTING:
            return True
        waiting += producer.inputs
    return False


def _spoiled(graph: ir.Graph, output: ir.Value, kind: ir.DataType, name: str) -> ir.Value:
    """Adds nodes that make another value of an output: its opposite, or its successor."""
    if kind == ir.DataType.BOOL:
        nodes = [ir.node("Not", [output], name=name)]
    else:
        number = ir.tensor(np.array(1, np.float32))
        one = ir.node("Constant", [], attributes={"value": number}, name=f"{name}_one")
        like = ir.node("Cast", [one.outputs[0]], attributes={"to": int(kind)}, name=f"{name}_cast")
        nodes = [one, like, ir.node("Add", [output, like.outputs[0]], name=name)]
    for node in nodes:
        node.outputs[0].name = f"{node.name}_output"
    graph.extend(nodes)
    nodes[-1].outputs[0].dtype = kind
    return nodes[-1].outputs[0]
