"""Computes beforehand what doesn't depend on inputs, and takes the branch that a constant decides.

TensorRT wants axes, pads, repeats and sizes as constants; PyTorch's exporters leave them behind a `Cast`, a `Concat`
or a `Reshape`, and conditions that every input answers alike behind an `If`.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxwright.graph.fitting import Fit


def _fold(model: ir.Model) -> int:
    from onnxscript.optimizer import fold_constants

    before = model.graph.num_nodes()
    result = fold_constants(model, onnx_shape_inference=True)
    RemoveUnusedNodesPass()(model)
    return int(result.modified) and max(1, before - model.graph.num_nodes())


FIT = Fit(
    name="folded",
    summary="Computes constants beforehand, and inlines branches that a constant decides.",
    change=_fold,
    operators=frozenset(
        {"If", "Dropout", "Squeeze", "Unsqueeze", "Pad", "Resize", "OneHot", "Range", "Split", "NonZero"}
    ),
    words=(
        "must resolve to a build-time constant",
        "is not a constant",
        "must be an initializer",
        "is_weights()",
        "Must have inputs with equal ranks",
    ),
)
