"""Layer normalization, written out.

`torch.nn.LayerNorm` below opset 17, and modules that compute it themselves, give `d = x - mean(x)` and
`d / sqrt(mean(d * d) + epsilon) * scale + bias`; some centre `x` twice, take `d ** 2`, or multiply by a reciprocal. It
becomes ONNX's `LayerNormalization` (opset 17), which ONNX Runtime, OpenVINO and TensorRT have. Where the input is
float16, some of it may be computed in float32, as the operator computes mean and root.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import array, commuted, number
from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.products import nodes_between, produced_by, taken_outside, uncast
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import FUSED_TYPES, Operator

_TYPES = {ir.DataType.DOUBLE, *FUSED_TYPES}


class Normed(NamedTuple):
    """A value divided by the root of its mean square and an epsilon."""

    x: ir.Value
    epsilon: float


class _LayerNorm(RewriteRuleClassBase):
    def pattern(self, op: Any, one: Any, other: Any) -> Any:
        """Matches any product; `check` looks for the scale and what is scaled."""
        return op.Mul(one, other, _outputs=["scaled"])

    def check(self, context: Any, scaled: ir.Value, **_: Any) -> MatchResult:
        """Declines other types than floats, and what something else takes a part of."""
        result, found = MatchResult(), _centred(scaled)
        if found is None:
            return result.fail()
        return declined(result, *found, context.root)

    def rewrite(self, op: Any, scaled: ir.Value, **_: Any) -> Any:
        """Writes one node, without a bias."""
        found = _centred(scaled)
        assert found is not None, "it has been checked"
        normed, scale = found
        return op.LayerNormalization(normed.x, scale, axis=-1, epsilon=normed.epsilon, stash_type=_stashed(normed.x))


def _stashed(x: ir.Value) -> int:
    """The type in which mean and root are computed: that of the input, but at least float32."""
    return int(ir.DataType.DOUBLE if x.dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT)


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
    taken = taken_outside(nodes_between(root.outputs[0], {found.x, scale}), root)
    if taken is not None:
        return result.fail("Something else takes a value inside of the pattern.", taken)
    if found.x.dtype not in _TYPES:
        return result.fail("The input isn't known to be float16, float32 or float64.", found.x)
    if found.x.dtype != root.outputs[0].dtype:
        return result.fail("What is normalized is of another type than the answer.", found.x)
    if len(sizes_of(scale) or ()) != 1:
        return result.fail("The scale isn't known to be one number a column.", scale)
    columns, width = (sizes_of(found.x) or (None,))[-1:], sizes_of(scale)
    if isinstance(columns[0], int) and columns != width:
        return result.fail("The scale isn't as wide as what is normalized.", scale)
    return result


def _centred(scaled: ir.Value) -> tuple[Normed, ir.Value] | None:
    """What is normalized about its mean, and the scale."""
    root = scaled.producer()
    for scale, value in commuted(*root.inputs) if root is not None else ():
        normed = normalized(value)
        centre = _computed_by(normed.x, "Sub") if normed is not None else None
        mean = _mean_of(centre.inputs[1]) if centre is not None else None
        if normed is not None and centre is not None and mean is not None and mean is uncast(centre.inputs[0]):
            return Normed(typed_like(mean, scaled), normed.epsilon), scale
    return None


def normalized(value: ir.Value) -> Normed | None:
    """Returns what is divided by its root mean square, by `Div` or as a product with a reciprocal."""
    divided = _computed_by(value, "Div")
    if divided is not None:
        return _over_root(*divided.inputs)
    multiplied = _computed_by(value, "Mul")
    for x, inverse in commuted(*multiplied.inputs) if multiplied is not None else ():
        over = _computed_by(inverse, "Reciprocal", "Div")
        if over is None or (over.op_type == "Div" and number(over.inputs[0]) != 1.0):
            continue
        found = _over_root(x, over.inputs[-1])
        if found is not None:
            return found
    return None


def typed_like(x: ir.Value, answer: ir.Value) -> ir.Value:
    """Returns what is normalized, in the type of the answer where the graph has it in that, too."""
    casts = [user.outputs[0] for user, _ in x.uses() if user.op_type == "Cast" and not user.domain]
    return next((one for one in [x, *casts] if one.dtype == answer.dtype), x)


def _over_root(x: ir.Value | None, divisor: ir.Value | None) -> Normed | None:
    """What is divided by `sqrt(mean(x * x) + epsilon)`; `x` may be computed twice, once for each side."""
    root, x = _computed_by(divisor, "Sqrt"), uncast(x)
    added = _computed_by(root.inputs[0], "Add") if root is not None else None
    for mean, epsilon in commuted(*added.inputs) if added is not None else ():
        given, square = number(epsilon), _squared(_mean_of(mean))
        if x is not None and given is not None and square is not None and _is_as(square, x):
            return Normed(x, given)
    return None


def _is_as(one: ir.Value, other: ir.Value) -> bool:
    """Whether two values are one, or both the same difference."""
    nodes = produced_by(one, "Sub"), produced_by(other, "Sub")
    are_same = nodes[0] is not None and nodes[1] is not None and list(nodes[0].inputs) == list(nodes[1].inputs)
    return one is other or are_same


def _mean_of(value: ir.Value | None) -> ir.Value | None:
    """What a value is the mean of over the last axis, that axis kept."""
    node = _computed_by(value, "ReduceMean")
    if node is None or not node.attributes.get_int("keepdims", 1):
        return None
    told = node.attributes.get_ints("axes", ()) or (array(node.inputs[1]) if len(node.inputs) > 1 else None)
    axes = [] if told is None else [int(axis) for axis in np.asarray(told).reshape(-1)]
    rank = len(sizes_of(node.inputs[0]) or ())
    return uncast(node.inputs[0]) if axes in ([-1], [rank - 1]) and axes else None


def _squared(value: ir.Value | None) -> ir.Value | None:
    """What a value is the square of."""
    node = _computed_by(value, "Mul", "Pow")
    if node is None:
        return None
    given = node.inputs[0]
    is_square = given is node.inputs[1] if node.op_type == "Mul" else number(node.inputs[1]) == 2.0
    return uncast(given) if is_square else None


def _computed_by(value: ir.Value | None, *operators: str) -> ir.Node | None:
    """The node that computes a value, where it is one of these operators of ONNX, in whatever float."""
    return produced_by(uncast(value), *operators)


RULE = Rule(
    name="layer-norm",
    group="fusion",
    summary="Makes one node of a layer normalization that is written out.",
    patterns=lambda _: [_LayerNorm.rule(), *_Bias.rule().commute()],
    makes=(Operator("", "LayerNormalization", 17),),
)
