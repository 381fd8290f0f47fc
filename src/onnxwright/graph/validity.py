"""Whether a graph is ONNX at all."""

from __future__ import annotations

from pathlib import Path

import onnx

from onnxwright.findings import Finding
from onnxwright.graph.reading import read_structure

_LONGEST = 300


def invalidities(file: Path) -> tuple[Finding, ...]:
    """Returns what the ONNX checker, with inference of types and shapes, says against a file."""
    try:
        onnx.checker.check_model(read_structure(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        told = " ".join(str(problem).split())[:_LONGEST]
        return (Finding("invalid-graph", f"The ONNX checker refuses the graph: {told}"),)
    return ()
