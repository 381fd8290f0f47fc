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
    drawing = {function.identifier() for function in model.functions.values() if any(map(_draws, function.all_nodes()))}
    for node in needed_nodes(model.graph):
        if _draws(node) or node.op_identifier() in drawing:
            message = f"The graph draws random numbers: {node.op_type} '{node.name}'."
            yield Finding("random-numbers", message)
            return


def _draws(node: ir.Node) -> bool:
    return node.op_type in _DRAWING and not node.domain
