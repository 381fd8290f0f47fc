"""Two graphs of one signature as one graph, of which a question about sizes or values decides which part runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass

from onnxwright.graph.cutting import bodies
from onnxwright.graph.sizes import ONE_SIZE_OPSET
from onnxwright.graph.sizing import Question
from onnxwright.signature import Signature


def joined(code: str, where_true: ir.Model, where_false: ir.Model, signature: Signature) -> ir.Model:
    """Returns a model that computes the first where a question is true of the sizes, and the second where it isn't.

    Weights that both hold stand in it once. The question is as `Question` takes it. Both models are used up.

    Raises:
        ValueError: when the question has no form in a graph.
    """
    opset = where_true.graph.opset_imports.get("", 0)
    if opset < ONE_SIZE_OPSET:
        raise ValueError(f"opset {opset} can't ask about one size; {ONE_SIZE_OPSET} can")

    def ask(inputs: Mapping[str, ir.Value], prefix: str, _: _Weights) -> _Asked:
        question = Question(code, signature, inputs, prefix)
        return _Asked(question.nodes, question.answer)

    return _joined(ask, where_true, where_false, signature)


def joined_by(question: ir.Model, where_true: ir.Model, where_false: ir.Model, signature: Signature) -> ir.Model:
    """Returns a model that computes the first where the only output of a model is true, and the second where it isn't.

    The three have the same inputs, and are used up.
    """

    def ask(inputs: Mapping[str, ir.Value], prefix: str, weights: _Weights) -> _Asked:
        body = _body(question, f"{prefix}/question", inputs, weights)
        nodes, (answer,) = list(body), tuple(body.outputs)
        body.outputs.clear()
        body.remove(nodes)
        return _Asked(nodes, answer)

    return _joined(ask, where_true, where_false, signature)


class _Asked(NamedTuple):
    """The nodes that answer a question, and the value that is the answer."""

    nodes: list[ir.Node]
    answer: ir.Value


def _joined(
    ask: Callable[[Mapping[str, ir.Value], str, _Weights], _Asked],
    where_true: ir.Model,
    where_false: ir.Model,
    signature: Signature,
) -> ir.Model:
    sides = {"then_branch": where_true, "else_branch": where_false}
    prefix = f"piece{1 + max(map(_depth, sides.values()))}"
    inputs = {spec.name: ir.Value(name=spec.name) for spec in signature.inputs}
    for value in where_true.graph.inputs:
        inputs[str(value.name)].type, inputs[str(value.name)].shape = value.type, value.shape
    weights = _Weights(prefix)
    asked = ask(inputs, prefix, weights)
    bodies = {side: _body(model, f"{prefix}/{side}", inputs, weights) for side, model in sides.items()}
    count = len(signature.outputs)
    choice = ir.node("If", [asked.answer], attributes=bodies, num_outputs=count, name=f"{prefix}/If")
    for spec, value, one in zip(signature.outputs, choice.outputs, bodies["then_branch"].outputs, strict=True):
        value.name, value.type, value.shape = spec.name, one.type, ir.Shape(spec.shape)
    graph = ir.Graph(
        list(inputs.values()),
        list(choice.outputs),
        nodes=[*asked.nodes, choice],
        initializers=weights.values(),
        opset_imports={**where_false.graph.opset_imports, **where_true.graph.opset_imports},
        name=where_true.graph.name,
    )
    return ir.Model(graph, ir_version=max(where_true.ir_version, where_false.ir_version))


_PIECE = re.compile(r"piece(\d+)/")


class _Weights:
    """The weights of a joined graph: those with the same numbers once."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._kept: dict[tuple[object, ...], ir.Value] = {}

    def kept(self, value: ir.Value) -> ir.Value:
        """The value that stands for a weight in the joined graph."""
        tensor = value.const_value
        assert tensor is not None
        key = (tensor.dtype, tuple(tensor.shape.numpy()), hashlib.sha256(tensor.tobytes()).digest())
        if key not in self._kept:
            name = f"{self._prefix}/weight_{len(self._kept)}/{value.name}"
            self._kept[key] = ir.Value(name=name, type=value.type, shape=value.shape, const_value=tensor)
        return self._kept[key]

    def values(self) -> list[ir.Value]:
        return list(self._kept.values())


def _body(model: ir.Model, prefix: str, inputs: Mapping[str, ir.Value], weights: _Weights) -> ir.Graph:
    """The nodes of a model as a branch: it takes inputs and weights from the graph around it."""
    if model.functions:
        InlinePass()(model)
    LiftConstantsToInitializersPass(lift_all_constants=False)(model)
    graph = model.graph
    for value in graph.inputs:
        ir.convenience.replace_all_uses_with(value, inputs[str(value.name)], replace_graph_outputs=True)
    for value in list(graph.initializers.values()):
        if value.uses() or value.is_graph_output():
            ir.convenience.replace_all_uses_with(value, weights.kept(value), replace_graph_outputs=True)
    outputs = list(graph.outputs)
    nodes = list(graph)
    graph.outputs.clear()
    graph.remove(nodes)
    for number, node in enumerate(_all(nodes)):
        node.name = f"{prefix}/{number}/{node.name or node.op_type}"
        for value in node.outputs:
            if value.name:
                value.name = f"{prefix}/{number}/{value.name}"
    return ir.Graph([], _own(outputs, nodes, prefix), nodes=nodes, name=prefix.replace("/", "_"))


def _own(outputs: list[ir.Value], nodes: list[ir.Node], prefix: str) -> list[ir.Value]:
    """The outputs of a branch, each computed in it: one that is an input or a weight gets a node of its own."""
    inside = {value for node in nodes for value in node.outputs}
    found: list[ir.Value] = []
    for value in outputs:
        if value in inside and value not in found:
            found.append(value)
            continue
        node = ir.node("Identity", [value], name=f"{prefix}/Identity_{len(nodes)}")
        node.outputs[0].name, node.outputs[0].type = f"{node.name}_output", value.type
        nodes.append(node)
        found.append(node.outputs[0])
    return found


def _all(nodes: list[ir.Node]) -> Iterator[ir.Node]:
    for node in nodes:
        yield node
        for graph in bodies(node):
            yield from graph.all_nodes()


def _depth(model: ir.Model) -> int:
    """How many joined graphs lie one inside the other in a model, so that each has names of its own."""
    found = (_PIECE.match(node.name or "") for node in model.graph)
    return max((int(match[1]) for match in found if match), default=0)
