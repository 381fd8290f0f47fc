"""Products taken apart, so that a rule need not match its factors in every order."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxwright.graph.constants import number
from onnxwright.graph.targets import FUSED_TYPES

_MOST_DEPTH = 4


@dataclass
class Product:
    """A number times values, and the nodes that multiply them."""

    number: float = 1.0
    values: list[ir.Value] = field(default_factory=list)
    nodes: list[ir.Node] = field(default_factory=list)


def taken_apart(value: ir.Value | None, depth: int = _MOST_DEPTH) -> Product:
    """Returns the factors of a value; one that is no product has itself."""
    product = Product()
    _take_apart(value, product, depth)
    return product


def _take_apart(value: ir.Value | None, product: Product, depth: int) -> None:
    given = number(value)
    node = value.producer() if value is not None else None
    if given is not None:
        product.number *= given
    elif node is not None and node.op_type == "Mul" and not node.domain and depth:
        product.nodes.append(node)
        for one in node.inputs:
            _take_apart(one, product, depth - 1)
    elif node is not None and node.op_type == "Div" and not node.domain and depth and number(node.inputs[1]):
        product.nodes.append(node)
        product.number /= number(node.inputs[1]) or 1.0
        _take_apart(node.inputs[0], product, depth - 1)
    elif value is not None:
        product.values.append(value)


def taken_outside(nodes: Iterable[ir.Node], root: ir.Node) -> ir.Value | None:
    """Returns the first value that nodes give and something else than them and the root takes."""
    inside = {*nodes, root}
    for node in inside - {root}:
        for value in node.outputs:
            if value.is_graph_output() or any(user not in inside for user, _ in value.uses()):
                return value
    return None


def nodes_between(value: ir.Value | None, sources: Collection[ir.Value]) -> list[ir.Node]:
    """Returns the nodes that compute a value of others, without what computes these, or nothing but constants."""
    found: dict[ir.Node, None] = {}
    known, ahead = {uncast(source) for source in sources}, [value]
    while ahead:
        one = ahead.pop()
        node = None if one is None or uncast(one) in known else one.producer()
        if node is not None and node not in found and node.inputs:
            found[node] = None
            ahead += node.inputs
    return list(found)


def uncast(value: ir.Value | None) -> ir.Value | None:
    """Returns a value as it was before it was cast from float16 to float32, or back."""
    while (node := produced_by(value, "Cast")) is not None:
        given, output = node.inputs[0], node.outputs[0]
        if given is None or not {given.dtype, output.dtype} <= FUSED_TYPES:
            break
        value = given
    return value


def produced_by(value: ir.Value | None, *operators: str) -> ir.Node | None:
    """Returns the node that gives a value, where it is one of these operators of ONNX."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in operators and not node.domain else None
