"""Layer normalization, written out.

`torch.nn.LayerNorm` below opset 17, and modules that compute it themselves, give `d = x - mean(x)` and
`d / sqrt(mean(d * d) + epsilon) * scale + bias`; some centre `x` twice, take `d ** 2`, or multiply by a reciprocal. It
becomes ONNX's `LayerNormalization` (opset 17), which ONNX Runtime, OpenVINO and TensorRT have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import array, commuted, number
from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.products import produced_by, taken_outside
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import Operator

_TYPES = {ir.DataType.FLOAT, ir.DataType.DOUBLE}


class Normed(NamedTuple):
    """A value divided by the root of its mean square and an epsilon, and the nodes that do it."""

    x: ir.Value
    epsilon: float
    nodes: Sequence[ir.Node]


class _LayerNorm(RewriteRuleClassBase):
    def pattern(self, op: Any, one: Any, other: Any) -> Any:
        """Matches any product; `check` looks for the scale and what is scaled."""
        return op.Mul(one, other, _outputs=["scaled"])

    def check(self, context: Any, scaled: ir.Value, **_: Any) -> MatchResult:
        """Declines other types than float32 and float64, and what something else takes a part of."""
        result, found = MatchResult(), _centred(scaled)
        if found is None:
            return result.fail()
        normed, x, scale = found
        return declined(result, Normed(x, normed.epsilon, normed.nodes), scale, context.root)

    def rewrite(self, op: Any, scaled: ir.Value, **_: Any) -> Any:
        """Writes one node, without a bias."""
        found = _centred(scaled)
        assert found is not None, "it has been checked"
        normed, x, scale = found
        return op.LayerNormalization(x, scale, axis=-1, epsilon=normed.epsilon, stash_type=int(x.dtype or 1))


class _Bias(RewriteRuleClassBase):
    def pattern(self, op: Any, x: Any, scale: Any, bias: Any) -> Any:
        """Matches a sum with what has no bias yet."""
        return op.Add(op.LayerNormalization(x, scale, _outputs=["normed"]), bias)

    def check(self, context: Any, scale: ir.Value, bias: ir.Value, **_: Any) -> MatchResult:
        """Declines what isn't as wide as the scale."""
        result = MatchResult()
        if len(sizes_of(bias) or ()) != 1 or sizes_of(bias) != sizes_of(scale):
            return result.fail("What is added isn't known to be one number a column.", bias)
        return result

    def rewrite(self, op: Any, x: ir.Value, scale: ir.Value, bias: ir.Value, normed: ir.Value) -> Any:
        """Hands the bias to the node."""
        node = normed.producer()
        assert node is not None, "the pattern has it"
        return op.LayerNormalization(x, scale, bias, **node.attributes)


def declined(result: MatchResult, found: Normed, scale: ir.Value, root: ir.Node) -> MatchResult:
    """Says why a normalization can't be one node, if it can't."""
    taken = taken_outside(found.nodes, root)
    if taken is not None:
        return result.fail("Something else takes a value inside of the pattern.", taken)
    if found.x.dtype not in _TYPES:
        return result.fail("The input isn't known to be float32 or float64.", found.x)
    if len(sizes_of(scale) or ()) != 1:
        return result.fail("The scale isn't known to be one number a column.", scale)
    columns, width = (sizes_of(found.x) or (None,))[-1:], sizes_of(scale)
    if isinstance(columns[0], int) and columns != width:
        return result.fail("The scale isn't as wide as what is normalized.", scale)
    return result


def _centred(scaled: ir.Value) -> tuple[Normed, ir.Value, ir.Value] | None:
    """What is normalized about its mean, and the scale."""
    root = scaled.producer()
    for scale, value in commuted(*root.inputs) if root is not None else ():
        normed = normalized(value)
        centre = produced_by(normed.x, "Sub") if normed is not None else None
        mean = mean_of(centre.inputs[1]) if centre is not None else None
        if normed is not None and centre is not None and mean is not None and mean[0] is centre.inputs[0]:
            nodes = [*normed.nodes, centre, mean[1]]
            return Normed(normed.x, normed.epsilon, nodes), mean[0], scale
    return None


def normalized(value: ir.Value) -> Normed | None:
    """Returns what is divided by its root mean square, by `Div` or as a product with a reciprocal."""
    divided = produced_by(value, "Div")
    if divided is not None and divided.inputs[0] is not None:
        return _over_root(divided.inputs[0], divided.inputs[1], [divided])
    multiplied = produced_by(value, "Mul")
    for x, inverse in commuted(*multiplied.inputs) if multiplied is not None else ():
        over = produced_by(inverse, "Reciprocal", "Div")
        if multiplied is None or over is None or (over.op_type == "Div" and number(over.inputs[0]) != 1.0):
            continue
        found = _over_root(x, over.inputs[-1], [multiplied, over])
        if found is not None:
            return found
    return None


def _over_root(x: ir.Value, divisor: ir.Value | None, nodes: list[ir.Node]) -> Normed | None:
    """What is divided by `sqrt(mean(x * x) + epsilon)`; `x` may be computed twice, once for each side."""
    root = produced_by(divisor, "Sqrt")
    added = produced_by(root.inputs[0], "Add") if root is not None else None
    for mean, epsilon in commuted(*added.inputs) if added is not None else ():
        measured, given = mean_of(mean), number(epsilon)
        square = squared(measured[0]) if measured is not None else None
        if root is None or added is None or measured is None or square is None or given is None:
            continue
        if _is_as(square[0], x):
            twice = produced_by(square[0], "Sub")
            return Normed(x, given, [*nodes, root, added, measured[1], square[1], *([twice] if twice else [])])
    return None


def _is_as(one: ir.Value, other: ir.Value) -> bool:
    """Whether two values are one, or both the same difference."""
    nodes = produced_by(one, "Sub"), produced_by(other, "Sub")
    are_same = nodes[0] is not None and nodes[1] is not None and list(nodes[0].inputs) == list(nodes[1].inputs)
    return one is other or are_same


def mean_of(value: ir.Value | None) -> tuple[ir.Value, ir.Node] | None:
    """Returns what a value is the mean of over the last axis, that axis kept, and the node."""
    node = produced_by(value, "ReduceMean")
    if node is None or node.inputs[0] is None or not node.attributes.get_int("keepdims", 1):
        return None
    told = node.attributes.get_ints("axes", ()) or (array(node.inputs[1]) if len(node.inputs) > 1 else None)
    axes = [] if told is None else [int(axis) for axis in np.asarray(told).reshape(-1)]
    rank = len(sizes_of(node.inputs[0]) or ())
    return (node.inputs[0], node) if axes in ([-1], [rank - 1]) and axes else None


def squared(value: ir.Value) -> tuple[ir.Value, ir.Node] | None:
    """Returns what a value is the square of, and the node."""
    node = produced_by(value, "Mul", "Pow")
    if node is None or node.inputs[0] is None:
        return None
    is_square = node.inputs[0] is node.inputs[1] if node.op_type == "Mul" else number(node.inputs[1]) == 2.0
    return (node.inputs[0], node) if is_square else None


RULE = Rule(
    name="layer-norm",
    group="fusion",
    summary="Makes one node of a layer normalization that is written out.",
    patterns=lambda _: [_LayerNorm.rule(), *_Bias.rule().commute()],
    makes=(Operator("", "LayerNormalization", 17),),
)
