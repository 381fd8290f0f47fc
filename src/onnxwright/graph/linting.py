"""What an engine built ahead of time won't take of a graph, as far as the graph alone shows it.

A parser accepts what its builder then fails at, and says nothing of a version that it doesn't know; this tells of both
without asking either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import onnx_ir as ir

from onnxwright.findings import Finding
from onnxwright.graph.bounding import widen_boundary
from onnxwright.graph.misreadings import misreadings
from onnxwright.graph.passes import cloned, named
from onnxwright.graph.provenance import provenance_of
from onnxwright.graph.targets import TYPES, Target

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def misread(model: ir.Model, target: Target) -> list[tuple[ir.Node, str]]:
    """Returns the nodes that an engine's parser would take for something else without a word, and for what.

    TensorRT's looks at the name of an operator and not at its domain, computes unsigned numbers as signed ones, and has
    its own idea of some attributes.
    """
    found, own = [], misreadings(model)
    for node in model.graph.all_nodes():
        is_known = node.domain in {"", *target.domains} or node.op_identifier() in model.functions
        reason = "" if is_known else f"it is of the domain '{node.domain}', which the parser doesn't look at."
        if not node.domain and node.op_type in _QUANTIZERS:
            reason = next((one for one in unfit(node) if "unsigned" in one), "")
        reason = reason or own.get(node, "")
        if reason:
            found.append((node, reason))
    return found


def lint(model: ir.Model, target: Target) -> list[Finding]:
    """Returns what is wrong with a graph for an engine, each finding once for each operator and reason."""
    found = [
        *_opset(model, target),
        *_domains(model, target),
        *_types(model, target),
        *_quantization(model),
        *(found_at("operator-misread", f"{node.op_type}: {why}", node) for node, why in misreadings(model).items()),
    ]
    return list(dict.fromkeys(found))


def place_of(model: ir.Model, node_name: str, place: int) -> tuple[str, str | None]:
    """Returns how a node is called, by its name or else its place in the graph, and where it comes from."""
    nodes = list(model.graph)
    node = next((one for one in model.graph.all_nodes() if node_name and one.name == node_name), None)
    if node is None and not node_name and 0 <= place < len(nodes):
        node = nodes[place]
    if node is None:
        return node_name or str(place), None
    module, where = provenance_of(node)
    return named(node), where or (f"module {module}" if module else None)


def found_at(code: str, message: str, node: ir.Node) -> Finding:
    """Returns a finding about a node, at the line of Python that it comes from where that is known."""
    module, where = provenance_of(node)
    return Finding(code, message, where=where or f"node {named(node)}", module=module)


def _opset(model: ir.Model, target: Target) -> Iterator[Finding]:
    version, safe = model.opset_imports.get(""), target.safe_opsets
    if version is not None and safe is not None and version not in safe:
        yield Finding(
            "opset-untried",
            f"opset {version}: {target.name} reads it without a word, and was tried with {safe[0]} to {safe[-1]}.",
        )


def _domains(model: ir.Model, target: Target) -> Iterator[Finding]:
    for node in model.graph.all_nodes():
        if node.domain and node.domain not in target.domains and node.op_identifier() not in model.functions:
            told = f"{node.op_type}: its parser would take {node.domain}::{node.op_type} for ONNX's, or for a plug-in."
            yield found_at("foreign-operator", told, node)


def lacked(model: ir.Model, types: frozenset[str] | None = None) -> Iterator[str]:
    """Says of inputs and outputs that are of types which TensorRT, or another engine, lacks."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        kind = _spelled(value)
        if kind not in (TYPES if types is None else types):
            yield f"'{value.name}' is of type {kind}, which it lacks"


def _spelled(value: ir.Value) -> str:
    is_tensor = isinstance(value.type, ir.TensorType) and value.dtype is not None
    return value.dtype.name if is_tensor and value.dtype is not None else str(value.type)


def _types(model: ir.Model, target: Target) -> Iterator[Finding]:
    """Types that the engine lacks, but for those of inputs and outputs that it is handed in others."""
    if not target.types:
        return
    handed = cloned(model)
    widen_boundary(handed)
    for told in lacked(handed, target.types):
        yield Finding("foreign-type", f"{told.removesuffix('it lacks')}{target.name} lacks.")
    for node in handed.graph.all_nodes():
        kinds = {value.dtype.name for value in (*node.inputs, *node.outputs) if value is not None and value.dtype}
        for kind in sorted(kinds - target.types):
            yield found_at("foreign-type", f"{node.op_type} has type {kind}, which {target.name} lacks.", node)


def _quantization(model: ir.Model) -> Iterator[Finding]:
    for node in model.graph.all_nodes():
        if node.op_type in _QUANTIZERS and not node.domain:
            reason = next(unfit(node), "")
            if reason:
                yield found_at("quantization-unfit", f"{node.op_type}: {reason}", node)


def unfit(node: ir.Node) -> Iterator[str]:
    """Says why a quantizer is none that TensorRT takes: it has signed types, with zero as the zero point."""
    _, scale, zero, *_ = itertools.chain(node.inputs, (None, None, None))
    kinds = [value.dtype for value in (zero, node.inputs[0], node.outputs[0]) if value is not None]
    if any(kind in {ir.DataType.UINT8, ir.DataType.UINT4, ir.DataType.UINT16} for kind in kinds if kind):
        yield "expected signed numbers, got unsigned ones, which are taken for signed; quantize symmetrically, in int8."
    numbers = None if zero is None else ir.convenience.get_const_tensor(zero)
    if numbers is not None and numbers.numpy().any():
        yield "expected a zero point of zero, got another; quantize symmetrically."
    elif zero is not None and numbers is None:
        yield "expected a constant zero point, got a computed one; quantize statically."
    if scale is not None and ir.convenience.get_const_tensor(scale) is None:
        yield "expected a constant scale, got a computed one; quantize statically."
