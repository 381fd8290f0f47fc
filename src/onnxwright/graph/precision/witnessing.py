"""A float16 graph that rounds wherever it says so, on a processor that has no float16.

ONNX Runtime's CPU engine computes most nodes of float16 in float32, and where one hands its answer to the next, it
drops the two casts in between: what overflows in float16 doesn't overflow there. Two nodes in a row that it has in
float16, and that hand on what they are given, keep the casts apart; a single one it would run in float32 as well. So
it is seen what an engine with float16 makes of the answers: each node computes in float32, as accumulators do, and
answers in float16.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.passes import cloned

_NAME = "/rounded"


def witness(model: ir.Model) -> ir.Model:
    """Returns a copy in which each float16 value goes through two `Identity`s; to be run without optimizations.

    It is for float16 only: ONNX Runtime's CPU engine has hardly any operator for bfloat16, and puts no casts around it.
    """
    copy = cloned(model)
    for graph in list(copy.graphs()):
        for node in list(graph):
            for value in node.outputs:
                if value.type == ir.TensorType(ir.DataType.FLOAT16) and value.uses() and node.op_type != "Identity":
                    _pass_on(graph, node, value)
    return copy


def _pass_on(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    uses = list(value.uses())
    first = ir.node("Identity", [value], name=f"{value.name}{_NAME}")
    second = ir.node("Identity", [first.outputs[0]], name=f"{value.name}{_NAME}_on")
    for one in (first, second):
        one.outputs[0].name, one.outputs[0].type, one.outputs[0].shape = one.name, value.type, value.shape
    graph.insert_after(node, [first, second])
    for user, place in uses:
        user.replace_input_with(place, second.outputs[0])
