"""Random numbers that a graph draws, on which an answer depends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from onnxwright.findings import Finding
from onnxwright.graph.boundary import needed_nodes

_DRAWING: Final = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"),
    *("Bernoulli", "Multinomial"),
}


def random_findings(model: ir.Model) -> Iterator[Finding]:
    """Yields a finding where an answer depends on what a node draws, in branches, loops and functions too."""
    drawing = next((node for node in needed_nodes(model.graph) if _draws(node, model)), None)
    if drawing is not None:
        yield Finding("random-numbers", f"The graph draws random numbers: {drawing.op_type} '{drawing.name}'.")


def _draws(node: ir.Node, model: ir.Model) -> bool:
    """Whether a node draws random numbers, or the function that it calls; ONNX allows no function to call itself."""
    function = model.functions.get(node.op_identifier())
    if function is not None:
        return any(_draws(inner, model) for inner in function.all_nodes())
    return node.op_type in _DRAWING and not node.domain
