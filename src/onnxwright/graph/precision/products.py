"""Products with constant weights: matrix products and convolutions, which is where int8 is faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from onnxwright.graph.passes import named
from onnxwright.graph.precision.formats import FLOAT
from onnxwright.graph.surfacing import nodes_with_branches

_LEAST_WEIGHTS: Final = 64
"""A product with fewer weights isn't worth the nodes that it takes."""


@dataclass(frozen=True)
class Product:
    """A node that multiplies what comes in by constant weights.

    `outer` is the axis of the weight that counts what comes out, `inner` the one that is summed over, None where that
    is no single axis; `channels` is the axis of the activation that is summed over.
    """

    node: ir.Node
    outer: int
    inner: int | None
    channels: int

    @property
    def name(self) -> str:
        """The name of the node."""
        return named(self.node)

    @property
    def activation(self) -> ir.Value:
        """What comes in."""
        value = self.node.inputs[0]
        assert value is not None, "products have two inputs"
        return value

    @property
    def weight(self) -> ir.Value:
        """What it is multiplied by."""
        value = self.node.inputs[1]
        assert value is not None, "products have two inputs"
        return value

    @property
    def size(self) -> int:
        """How many weights it has."""
        tensor = self.weight.const_value
        return 0 if tensor is None else int(tensor.size)


def products(model: ir.Model) -> list[Product]:
    """Returns the products whose weights are the graph's own, in order, those in branches too; loops are left alone."""
    found = (_product(node) for node in nodes_with_branches(model.graph) if not node.domain)
    return [one for one in found if one is not None and _is_worth_it(one)]


def _product(node: ir.Node) -> Product | None:
    if len(node.inputs) < 2 or None in node.inputs[:2]:
        return None
    weight = node.inputs[1]
    rank = 0 if weight is None or weight.const_value is None else weight.const_value.shape.rank()
    if node.op_type == "MatMul" and rank == 2:
        return Product(node, outer=1, inner=0, channels=-1)
    if node.op_type == "Gemm" and rank == 2 and not node.attributes.get_int("transA", 0):
        is_turned = node.attributes.get_int("transB", 0)
        return Product(node, outer=0 if is_turned else 1, inner=1 if is_turned else 0, channels=1)
    if node.op_type == "Conv" and rank > 2:
        return Product(node, outer=0, inner=1 if node.attributes.get_int("group", 1) == 1 else None, channels=1)
    return None


def _is_worth_it(one: Product) -> bool:
    given, weight = one.activation, one.weight
    is_own = weight.is_initializer() and not weight.is_graph_input() and not given.is_initializer()
    return is_own and weight.dtype == FLOAT and given.dtype in {None, FLOAT} and one.size >= _LEAST_WEIGHTS
