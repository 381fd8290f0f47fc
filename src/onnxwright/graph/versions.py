"""A graph in another opset."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir
from onnxscript.version_converter import convert_version

from onnxwright.errors import RouteError
from onnxwright.graph.expanding import expand
from onnxwright.graph.weights import as_inputs, left_out, put_back


def convert_opset(model: ir.Model, opset: int) -> int:
    """Converts a graph to another opset, in place, and returns how many nodes it has; 0 when it has that opset.

    Upwards the converter of `onnxscript` does it. Downwards `onnx` goes from version to version; where it knows no way
    for an operator, the graph stays as it is if it is valid in the older version too. Operators that are not there yet
    are replaced by their definitions beforehand.

    Raises:
        RouteError: when an operator has no equal there.
    """
    own = model.opset_imports.get("")
    if own is None or own == opset:
        return 0
    if opset > own:
        _upgrade(model, opset)
    else:
        _downgrade(model, opset)
    return model.graph.num_nodes()


def _upgrade(model: ir.Model, opset: int) -> None:
    try:
        convert_version(model, opset, fallback=True)
    except Exception as problem:  # both converters raise types of their own
        raise RouteError(f"the graph can't be converted to opset {opset}: {problem}") from problem
    if model.opset_imports.get("") != opset:
        raise RouteError(f"the graph can't be converted to opset {opset}: an operator has no equal there.")


def _downgrade(model: ir.Model, opset: int) -> None:
    expand(model, _unknown(model, opset))
    for version in range(model.opset_imports[""] - 1, opset - 1, -1):
        with left_out(model.graph) as weights:
            own = as_inputs(ir.to_proto(model))
        try:
            converted = ir.from_proto(onnx.version_converter.convert_version(own, version))
        except RuntimeError:
            converted = ir.from_proto(own)
            converted.opset_imports[""] = version
            for node in converted.graph.all_nodes():
                _respell(node, version)
        try:
            onnx.checker.check_model(ir.to_proto(converted), full_check=True)
        except Exception as problem:  # the checker raises types of its own
            raise RouteError(f"the graph can't be converted to opset {version}: {problem}") from problem
        model.graph = put_back(converted, weights).graph
        model.opset_imports[""] = version


def _respell(node: ir.Node, version: int) -> None:
    """Writes a node as the older version has it, where that differs in what is an attribute and what an input."""
    if node.domain or not onnx.defs.has(node.op_type, version):
        return
    older, newer = (onnx.defs.get_schema(node.op_type, one) for one in (version, version + 1))
    moved = [place for place, given in enumerate(newer.inputs) if given.name in older.attributes]
    for place in [place for place in moved if place < len(node.inputs)][::-1]:
        name, value = newer.inputs[place].name, node.inputs[place]
        constant = ir.convenience.get_const_tensor(value) if value is not None else None
        if constant is not None:
            given = constant.numpy().tolist()
            node.attributes[name] = ir.convenience.convert_attribute(name, given)
            node.resize_inputs(place)
    for name in [name for name in node.attributes if name not in older.attributes]:
        default: Any = newer.attributes[name].default_value if name in newer.attributes else None
        if default is not None and ir.serde.deserialize_attribute(default).value == node.attributes[name].value:
            node.attributes.pop(name)


def _unknown(model: ir.Model, opset: int) -> set[str]:
    """Operators of ONNX that are not in an opset."""
    named = {node.op_type for graph in model.graphs() for node in graph if node.domain == ""}
    return {name for name in named if not onnx.defs.has(name, opset)}
