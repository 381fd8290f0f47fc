"""Values of branches as outputs of the graph itself; where a branch isn't taken, what it would have given is empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from onnxwright.graph.cutting import bodies


def nodes_with_branches(graph: ir.Graph) -> Iterator[ir.Node]:
    """Yields the nodes of a graph and of the branches in it, in order; what loops repeat is left out."""
    for node in graph:
        yield node
        for branch in branches_of(node):
            yield from nodes_with_branches(branch)


def branches_of(node: ir.Node) -> list[ir.Graph]:
    """Returns the branches of a node, none where it is no `If`."""
    return list(bodies(node)) if node.op_type == "If" and not node.domain else []


def graph_of(node: ir.Node) -> ir.Graph:
    """Returns the graph, or the branch, in which a node stands."""
    assert isinstance(node.graph, ir.Graph), "no node of a function"
    return node.graph


def surface(model: ir.Model, values: Mapping[str, ir.Value]) -> None:
    """Has a model answer float32 values of its graph and of branches, under names that none of its values has."""
    parents = {branch: node for node in nodes_with_branches(model.graph) for branch in branches_of(node)}
    for name, value in values.items():
        producer = value.producer()
        graph = model.graph if producer is None else producer.graph
        path = list(_path(graph, parents))
        shown = _shown(path[0], ir.node("Identity", [value]), _named(name, len(path)), value.shape)
        for depth, inside in enumerate(path[:-1], start=1):
            shown = _handed_out(parents[inside], inside, shown, _named(name, len(path) - depth))
        model.graph.outputs.append(shown)


def _named(name: str, depth: int) -> str:
    return name if depth == 1 else f"{name}/{depth}"


def _path(graph: object, parents: Mapping[ir.Graph, ir.Node]) -> Iterator[ir.Graph]:
    """A graph and those around it, from the inside."""
    while isinstance(graph, ir.Graph):
        yield graph
        graph = parents[graph].graph if graph in parents else None


def _shown(graph: ir.Graph, node: ir.Node, name: str, shape: ir.Shape | None) -> ir.Value:
    """What a node gives that is put at the end of a graph, under a name."""
    (output,) = node.outputs
    node.name = output.name = name
    output.dtype, output.shape = ir.DataType.FLOAT, shape
    graph.append(node)
    return output


def _handed_out(node: ir.Node, inside: ir.Graph, value: ir.Value, name: str) -> ir.Value:
    """Has an `If` answer a value of one of its branches, and nothing where it takes the other."""
    for branch in branches_of(node):
        if branch is inside:
            branch.outputs.append(value)
        else:
            nothing = ir.node("Constant", [], {"value": ir.tensor(np.empty(0, np.float32))})
            branch.outputs.append(_shown(branch, nothing, f"{name}/nothing", ir.Shape([0])))
    node.resize_outputs(len(node.outputs) + 1)
    node.outputs[-1].name, node.outputs[-1].dtype = name, ir.DataType.FLOAT
    return node.outputs[-1]
