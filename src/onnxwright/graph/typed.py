"""The type of every value of a graph, as far as it can be told."""

from __future__ import annotations

from typing import Final

import onnx
import onnx_ir as ir

from onnxwright.graph.following import follow_sizes
from onnxwright.graph.weights import as_inputs, left_out

_MOST_ROUNDS: Final = 8


def infer_types(model: ir.Model) -> None:
    """Writes the types that can be told into the values of the main graph that have none.

    ONNX's inference stops behind operators that it doesn't know; what is known of these is told to it, until nothing
    more comes of that. `ShapeInferencePass` would make tensors of sequences.
    """
    values = [value for node in model.graph for value in node.outputs]
    unknown = -1
    for _ in range(_MOST_ROUNDS):
        found = _inferred(model)
        for value in values:
            value.type = value.type or found.get(value.name or "")
        follow_sizes(model)
        left = sum(value.type is None for value in values)
        if left in {0, unknown}:
            break
        unknown = left


def _inferred(model: ir.Model) -> dict[str, ir.TypeProtocol]:
    with left_out(model.graph):
        message = as_inputs(ir.to_proto(model))
    graph = onnx.shape_inference.infer_shapes(message, data_prop=True).graph
    known = ((one.name, one.type) for one in (*graph.value_info, *graph.output) if one.HasField("type"))
    return {
        name: found for name, kind in known if (found := ir.serde.deserialize_type_proto_for_type(kind)) is not None
    }
