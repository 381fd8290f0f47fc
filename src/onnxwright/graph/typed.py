"""The element type of every value, as far as it can be told."""

from __future__ import annotations

from typing import Final

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from onnxwright.graph.following import follow_sizes

_MOST_ROUNDS: Final = 8


def infer_types(model: ir.Model) -> None:
    """Writes the types that can be told into the values: ONNX's inference stops behind operators that it doesn't know.

    What is known of such an operator is told to it, until nothing more comes of that.
    """
    unknown = -1
    for _ in range(_MOST_ROUNDS):
        ShapeInferencePass()(model)
        follow_sizes(model)
        left = sum(value.dtype is None for node in model.graph for value in node.outputs)
        if left in {0, unknown}:
            break
        unknown = left
