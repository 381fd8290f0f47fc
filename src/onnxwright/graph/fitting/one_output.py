"""Drops outputs that nothing takes, which TensorRT counts: the mean of a normalization, the mask of a `Dropout`."""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.fitting import Fit


def _drop(model: ir.Model) -> int:
    count = 0
    for node in list(model.graph.all_nodes()):
        used = [bool(value.uses()) or value.is_graph_output() for value in node.outputs]
        kept = max((place + 1 for place, is_used in enumerate(used) if is_used), default=0)
        if 0 < kept < len(node.outputs):
            node.resize_outputs(kept)
            count += 1
    return count


FIT = Fit(
    name="one_output",
    summary="Drops outputs of nodes that nothing takes.",
    change=_drop,
    operators=frozenset({"LayerNormalization", "MaxPool", "Dropout", "Attention", "BatchNormalization"}),
    words=("outputs for", "with one output"),
)
