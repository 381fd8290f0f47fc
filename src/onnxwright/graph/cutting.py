"""Parts of a graph, as models of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import onnx_ir as ir


def cut(model: ir.Model, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
    """Returns what computes these values from those, with the weights that it needs; inputs that it doesn't are left.

    Raises:
        ValueError: when an output depends on an input of the graph that isn't among these.
    """
    graph = ir.convenience.extract(model.graph, inputs, outputs)
    for value in [value for value in graph.inputs if not value.uses() and not value.is_graph_output()]:
        graph.inputs.remove(value)
    return ir.Model(graph, ir_version=model.ir_version, functions=list(model.functions.values()))


def operands(node: ir.Node) -> Iterator[ir.Value]:
    """Yields the values that a node needs, those that only its subgraphs name included."""
    inner = (value for graph in bodies(node) for value in _named_inside(graph))
    yield from (value for value in (*node.inputs, *inner) if value is not None and value.graph is node.graph)


def depending_on(nodes: Iterable[ir.Node], node: ir.Node) -> set[ir.Node]:
    """Returns a node and all those after it that need, over others or not, what it computes; `nodes` are sorted."""
    found = {node}
    for later in nodes:
        if any(value.producer() in found for value in operands(later)):
            found.add(later)
    return found


def between(node: ir.Node, inside: Collection[ir.Node]) -> list[ir.Node]:
    """Returns a node and those of `inside` that it needs over nothing but `inside`."""
    found = [node]
    for one in found:
        before = dict.fromkeys(value.producer() for value in operands(one))
        found += [other for other in before if other is not None and other in inside and other not in found]
    return found


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """Yields the graphs inside of a node: branches, and what a loop repeats."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _named_inside(graph: ir.Graph) -> Iterator[ir.Value | None]:
    for node in graph.all_nodes():
        yield from node.inputs
    yield from graph.outputs
