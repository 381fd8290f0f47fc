"""Constants that a rewrite has made and told no graph of."""

from __future__ import annotations

import onnx_ir as ir


def with_lost_constants(model: ir.Model) -> int:
    """Makes initializers of values that nodes read, nothing makes and whose numbers are known; returns how many.

    Rules of onnxscript 0.7 that make one (`MinMaxToClip`) can be applied to a node that a rule has just put in: what it
    reads has no place in the graph then.
    """
    graph = model.graph
    read = (value for node in ir.traversal.RecursiveGraphIterator(graph) for value in node.inputs)
    lost = [value for value in dict.fromkeys(read) if value is not None and _is_lost(value)]
    for value in lost:
        value.name = _free(str(value.name), graph)
        graph.register_initializer(value)
    return len(lost)


def _is_lost(value: ir.Value) -> bool:
    is_made = value.producer() is not None or value.is_graph_input() or value.is_initializer()
    return not is_made and value.const_value is not None


def _free(name: str, graph: ir.Graph) -> str:
    while name in graph.initializers:
        name += "_"
    return name
