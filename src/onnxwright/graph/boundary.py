"""The inputs and outputs of a graph, held to a signature: names, order, types and dims."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxwright import dtypes
from onnxwright.errors import RouteError
from onnxwright.graph.cutting import bodies
from onnxwright.signature import Signature, TensorSpec


def conform(model: ir.Model, signature: Signature) -> ir.Model:
    """Gives the graph the signature's inputs and outputs, by position where an exporter renamed them.

    Inputs that the exporter dropped come back, unused. An output that is an input, or another output, gets a node
    of its own, since several runtimes lose such a name. Whole numbers in fewer bits than the signature's are cast.

    Raises:
        RouteError: when inputs or outputs are missing or have another type, which no renaming mends.
    """
    _conform_inputs(model.graph, signature.inputs)
    _conform_outputs(model.graph, signature.outputs)
    return model


def float_type(model: ir.Model, signature: Signature) -> str:
    """Returns the type that a graph has, in and out, for what is float32 by the signature: that, or a lower one."""
    floats = {spec.name for spec in (*signature.inputs, *signature.outputs) if spec.dtype == "float32"}
    values = [value for value in (*model.graph.inputs, *model.graph.outputs) if value.name in floats]
    found = {dtypes.from_onnx(int(value.dtype)) for value in values if value.dtype is not None}
    return next(iter(found - {"float32"}), "float32")


def unused_inputs(model: ir.Model) -> list[str]:
    """Names the inputs on which no output depends."""
    reached = _needed(model.graph)
    return [str(value.name) for value in model.graph.inputs if value not in reached]


def needed_nodes(graph: ir.Graph) -> list[ir.Node]:
    """Returns the nodes on which an output depends, those inside of branches and loops among them, in order."""
    reached = _needed(graph)
    needed = [node for node in graph if any(value in reached for value in node.outputs)]
    return [one for node in needed for one in (node, *(deep for inner in bodies(node) for deep in inner.all_nodes()))]


def _needed(graph: ir.Graph) -> set[ir.Value]:
    """The values on which an output depends."""
    waiting, reached = list(graph.outputs), set[ir.Value]()
    while waiting:
        value = waiting.pop()
        if value in reached:
            continue
        reached.add(value)
        node = value.producer()
        if node is not None:
            waiting += [one for one in _read_by(node) if one is not None]
    return reached


def _read_by(node: ir.Node) -> list[ir.Value | None]:
    """The inputs of a node, and what the bodies inside it read."""
    found = list(node.inputs)
    for inner in bodies(node):
        found += [*inner.outputs, *(value for one in inner.all_nodes() for value in one.inputs)]
    return found


def _conform_inputs(graph: ir.Graph, specs: Sequence[TensorSpec]) -> None:
    by_name = {value.name: value for value in graph.inputs}
    if set(by_name) - {spec.name for spec in specs}:
        if len(graph.inputs) != len(specs):
            raise RouteError(f"the graph has inputs {_names(graph.inputs)}; expected {_names(specs)}.")
        by_name = {spec.name: value for spec, value in zip(specs, graph.inputs, strict=True)}
    values = [by_name.get(spec.name) or ir.Value(name=spec.name) for spec in specs]
    for spec, value in zip(specs, values, strict=True):
        _declare(value, spec)
    graph.inputs.clear()
    graph.inputs.extend(values)


def _conform_outputs(graph: ir.Graph, specs: Sequence[TensorSpec]) -> None:
    if len(graph.outputs) != len(specs):
        raise RouteError(f"the graph has outputs {_names(graph.outputs)}; expected {_names(specs)}.")
    by_name = {value.name: value for value in graph.outputs}
    if by_name.keys() != {spec.name for spec in specs}:
        by_name = {spec.name: value for spec, value in zip(specs, graph.outputs, strict=True)}
    fixed = {*graph.inputs, *graph.initializers.values()}
    outputs: list[ir.Value] = []
    for spec in specs:
        value = by_name[spec.name]
        if _is_narrower(value, spec):
            own = _taken(graph, value, "Cast", ir.DataType(dtypes.to_onnx(spec.dtype)))
        else:
            own = _taken(graph, value, "Identity") if value in fixed or value in outputs else value
        outputs.append(own)
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    _free(graph, outputs, {spec.name for spec in specs})
    for spec, value in zip(specs, outputs, strict=True):
        _declare(value, spec)


def _taken(graph: ir.Graph, value: ir.Value, operator: str, to: ir.DataType | None = None) -> ir.Value:
    node = ir.node(operator, inputs=[value], attributes={} if to is None else {"to": to})
    dtype = to or value.dtype
    if dtype is not None:
        node.outputs[0].dtype = dtype
    graph.append(node)
    return node.outputs[0]


def _is_narrower(value: ir.Value, spec: TensorSpec) -> bool:
    """Whether an output has whole numbers in fewer bits than declared, as the lengths of packed rows do."""
    declared = ir.DataType(dtypes.to_onnx(spec.dtype))
    if value.dtype is None or not (value.dtype.is_integer() and declared.is_integer()):
        return False
    return value.dtype.itemsize < declared.itemsize


def _free(graph: ir.Graph, outputs: Sequence[ir.Value], names: set[str]) -> None:
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.name in names and value not in outputs:
                value.name = f"{value.name}_inner"


def _declare(value: ir.Value, spec: TensorSpec) -> None:
    dtype = ir.DataType(dtypes.to_onnx(spec.dtype))
    if value.dtype is not None and value.dtype != dtype:
        raise RouteError(f"'{spec.name}' is {value.dtype.name.lower()} in the graph; expected {spec.dtype}.")
    value.name = spec.name
    value.dtype = dtype
    value.shape = ir.Shape(spec.shape)


def _names(values: Sequence[ir.Value] | Sequence[TensorSpec]) -> str:
    return ", ".join(str(value.name) for value in values) or "none"
