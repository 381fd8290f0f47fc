"""Operators and functions replaced by what they are defined as, node by node, weights untouched."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx
import onnx_ir as ir
from onnx import inliner

from onnxwright.graph.typed import infer_types

_PREFIX = "expanded"


def expand(model: ir.Model, operators: Collection[str]) -> int:
    """Replaces nodes by the bodies that ONNX, or the model itself, defines for their operators; returns how many.

    Those without a body stay as they are. Some bodies are of the types of what goes in, which are inferred first where
    they aren't known.
    """
    if any(_is_untyped(node) for node in model.graph.all_nodes() if node.op_type in operators):
        infer_types(model)
    functions = {key: ir.to_proto(function) for key, function in model.functions.items()}
    count = sum((node.name or "").startswith(_PREFIX) for node in model.graph.all_nodes())
    before = count
    for graph in list(model.graphs()):
        for node in [one for one in graph if one.op_type in operators]:
            body = _body(node, model, list(functions.values()))
            if body is not None:
                _replace(graph, node, body, f"{_PREFIX}_{count}")
                count += 1
    return count - before


def _is_untyped(node: ir.Node) -> bool:
    return any(value is not None and value.type is None for value in node.inputs)


def _body(node: ir.Node, model: ir.Model, functions: Sequence[onnx.FunctionProto]) -> ir.Graph | None:
    """The nodes that stand for one node, in a graph with its inputs and outputs; none where there is no definition."""
    inputs = list(dict.fromkeys(value for value in node.inputs if value is not None))
    graph = onnx.GraphProto(name=_PREFIX)
    graph.node.append(_with_defaults(node, model.opset_imports.get(node.domain)))
    graph.input.extend(ir.to_proto(value) for value in inputs)
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in node.outputs if value.name)
    alone = onnx.ModelProto(ir_version=model.ir_version, graph=graph, functions=functions)
    alone.opset_import.extend(
        onnx.OperatorSetIdProto(domain=domain, version=version) for domain, version in model.opset_imports.items()
    )
    wanted = [(node.domain, node.op_type)]
    inlined = inliner.inline_selected_functions(alone, wanted, inline_schema_functions=True)
    if any((one.domain, one.op_type) == wanted[0] for one in inlined.graph.node):
        return None
    for imported in inlined.opset_import:
        model.opset_imports.setdefault(imported.domain, imported.version)
    return ir.from_proto(inlined).graph


def _with_defaults(node: ir.Node, version: int | None) -> onnx.NodeProto:
    """A node with the attributes that it leaves to their defaults, which bodies refer to."""
    proto = ir.to_proto(node)
    try:
        schema = onnx.defs.get_schema(node.op_type, version or 1, node.domain)
    except onnx.defs.SchemaError:  # a function of the graph's own
        return proto
    defaults = {name: one.default_value for name, one in schema.attributes.items() if name not in node.attributes}
    proto.attribute.extend(one for one in defaults.values() if one.type != onnx.AttributeProto.UNDEFINED)
    return proto


def _replace(graph: ir.Graph, node: ir.Node, body: ir.Graph, prefix: str) -> None:
    given = {value.name: value for value in node.inputs if value is not None}
    renamed = {value: given[value.name] for value in body.inputs}
    answers = list(body.outputs)
    nodes = list(body)
    for number, one in enumerate(body.all_nodes()):
        for place, value in enumerate(one.inputs):
            if value in renamed:
                one.replace_input_with(place, renamed[value])
        one.name = f"{prefix}/{one.op_type}_{number}"
        for value in one.outputs:
            value.name = f"{prefix}/{value.name}" if value.name else value.name
        one.metadata_props.update(node.metadata_props)
    body.outputs.clear()
    body.remove(nodes)
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], nodes, [value for value in node.outputs if value.name], answers
    )
