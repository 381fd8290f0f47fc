"""Joins products of one value with several weights into one, and splits the answer.

Query, key and value of an attention layer, and gate and up of a gated feed-forward, are `nn.Linear`s on the same input:
three small matrix products where one large one keeps the machine busy. `MatMul`s with one weight each, with their
biases where all have one, and `Gemm`s, become one. The weights are joined when they are read, not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxwright.graph.adding import held
from onnxwright.graph.constants import commuted, weight
from onnxwright.graph.passes import Log
from onnxwright.graph.rules import Rule

_SPLIT_BY_INPUT = 13


class _Linear(NamedTuple):
    """A product with a weight, and what is added to it; `root` is the node that gives the answer."""

    node: ir.Node
    root: ir.Node
    weight: ir.TensorProtocol
    bias: ir.TensorProtocol | None

    @property
    def width(self) -> int:
        """How many columns it answers."""
        return int(self.weight.shape.numpy()[self.axis])

    @property
    def axis(self) -> int:
        """The axis of the weight that the answer's columns are."""
        return 0 if self.node.attributes.get_int("transB", 0) else 1

    @property
    def kind(self) -> tuple[object, ...]:
        """What those have in common that can be joined."""
        rows = self.weight.shape.numpy()[1 - self.axis]
        options = {name: one.value for name, one in self.node.attributes.items()}
        settings = tuple(sorted((name, str(value)) for name, value in options.items()))
        return self.node.op_type, self.weight.dtype, rows, self.bias is None, settings


def _merge(model: ir.Model, log: Log) -> int:
    count = 0
    for graph in model.graphs():
        for value in [*graph.inputs, *(value for node in graph for value in node.outputs)]:
            for group in _groups(value, graph):
                log.hit(RULE.name, group[0].node)
                _join(model, graph, value, group)
                count += 1
    if count:
        RemoveUnusedNodesPass()(model)
        for graph in model.graphs():
            graph.sort()
    return count


def _groups(value: ir.Value, graph: ir.Graph) -> list[list[_Linear]]:
    """The products of a value that can be joined, in order."""
    found: dict[tuple[object, ...], list[_Linear]] = {}
    for node, place in value.uses():
        linear = _linear(node) if place == 0 and node.graph is graph else None
        if linear is not None:
            found.setdefault(linear.kind, []).append(linear)
    return [group for group in found.values() if len(group) > 1]


def _linear(node: ir.Node) -> _Linear | None:
    if node.domain or node.op_type not in {"MatMul", "Gemm"} or len(node.inputs) < 2:
        return None
    held, bias = weight(node.inputs[1]), node.inputs[2] if len(node.inputs) > 2 else None
    is_own = node.inputs[1] is not None and len(node.inputs[1].uses()) == 1
    if held is None or not is_own or len(held.shape) != 2 or (bias is not None and weight(bias) is None):
        return None
    if node.op_type == "Gemm":
        found = _Linear(node, node, held, weight(bias))
        return found if found.bias is None or tuple(found.bias.shape.numpy()) == (found.width,) else None
    root, added = _with_bias(node, int(held.shape.numpy()[1]))
    return _Linear(node, root, held, added)


def _with_bias(node: ir.Node, width: int) -> tuple[ir.Node, ir.TensorProtocol | None]:
    """The node that adds a bias to a product, where nothing else takes it; else the product."""
    (output,) = node.outputs
    users = [user for user, _ in output.uses()]
    if len(users) != 1 or users[0].op_type != "Add" or users[0].domain or output.is_graph_output():
        return node, None
    for one, other in commuted(*users[0].inputs):
        held = weight(other)
        if one is output and held is not None and tuple(held.shape.numpy()) == (width,):
            return users[0], held
    return node, None


def _join(model: ir.Model, graph: ir.Graph, value: ir.Value, group: Sequence[_Linear]) -> None:
    made = list(_joined(model, graph, value, group))
    outputs = [one.root.outputs[0] for one in group]
    for old, new in zip(outputs, made[-1].outputs, strict=True):
        new.type, new.shape = old.type, old.shape
    replaced = [node for one in group for node in {one.node: None, one.root: None}]
    ir.convenience.replace_nodes_and_values(graph, group[0].node, replaced, made, outputs, made[-1].outputs)


def _joined(model: ir.Model, graph: ir.Graph, value: ir.Value, group: Sequence[_Linear]) -> Iterator[ir.Node]:
    """One product, one sum where there are biases, and a split."""
    name = f"{group[0].node.name or group[0].node.outputs[0].name}_merged"
    given = [value, _packed(graph, f"{name}_weight", [one.weight for one in group], group[0].axis)]
    biases = [one.bias for one in group if one.bias is not None]
    bias = [_packed(graph, f"{name}_bias", biases, 0)] if biases else []
    is_gemm = group[0].node.op_type == "Gemm"
    attributes = list(group[0].node.attributes.values())
    product = ir.Node("", group[0].node.op_type, [*given, *(bias if is_gemm else [])], attributes, name=name)
    yield product
    last = product
    if bias and not is_gemm:
        last = ir.node("Add", [product.outputs[0], bias[0]], name=f"{name}_sum")
        yield last
    yield _split(model, graph, last.outputs[0], [one.width for one in group], name)


def _split(model: ir.Model, graph: ir.Graph, value: ir.Value, widths: Sequence[int], name: str) -> ir.Node:
    if model.opset_imports.get("", 1) < _SPLIT_BY_INPUT:
        sizes = [ir.AttrInt64("axis", -1), ir.AttrInt64s("split", widths)]
        return ir.Node("", "Split", [value], sizes, num_outputs=len(widths), name=f"{name}_split")
    tensor = ir.tensor(np.array(widths, np.int64), name=f"{name}_widths")
    given = [value, held(graph, tensor)]
    return ir.node("Split", given, {"axis": -1}, num_outputs=len(widths), name=f"{name}_split")


def _packed(graph: ir.Graph, name: str, tensors: Sequence[ir.TensorProtocol], axis: int) -> ir.Value:
    """Weights side by side, as an initializer that is joined whenever it is read."""
    shape = list(tensors[0].shape.numpy())
    shape[axis] = sum(int(tensor.shape.numpy()[axis]) for tensor in tensors)

    def read() -> ir.TensorProtocol:
        return ir.tensor(np.concatenate([tensor.numpy() for tensor in tensors], axis=axis), dtype=tensors[0].dtype)

    return held(graph, ir.LazyTensor(read, dtype=tensors[0].dtype, shape=ir.Shape(shape), name=name))


RULE = Rule(
    name="merged-products",
    group="merge",
    summary="Joins products of one value with several weights, and splits the answer.",
    change=_merge,
)
