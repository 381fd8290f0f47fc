"""Graphs that answer, beside what they do, which numbers they have put on grids on the way."""

from __future__ import annotations

import onnx_ir as ir


def with_steps(model: ir.Model) -> list[str]:
    """Has a graph answer all numbers that it puts on a grid and takes from there, if they depend on its inputs.

    Returns the names of these answers, in the graph's order. Engines see such a pair of nodes as one still.
    """
    graph = model.graph
    moving = {value for value in graph.inputs if value.name not in graph.initializers}
    found = []
    for node in graph:
        if not any(value in moving for value in node.inputs):
            continue
        moving.update(node.outputs)
        if node.op_type == "DequantizeLinear" and _is_stepping(node.inputs[0]):
            found.append(node.outputs[0])
    graph.outputs.extend(value for value in found if not value.is_graph_output())
    return [str(value.name) for value in found]


def _is_stepping(value: ir.Value | None) -> bool:
    giver = None if value is None else value.producer()
    return giver is not None and giver.op_type in {"QuantizeLinear", "Clip"}
