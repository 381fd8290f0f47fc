"""Layer normalization of a sum, as one node of ONNX Runtime.

A transformer's block ends in `norm(hidden + residual)`, or hands the sum on beside what is made of its norm (as GPT-2
and ViT do). Where one of the two is the same for all rows, as positions are, the node takes that, too. `Add` and
`LayerNormalization`, or the norm by root mean square, become `SkipLayerNormalization` or
`SkipSimplifiedLayerNormalization`, whose fourth output is the sum.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import CONTRIB, FUSED_TYPES, Operator


class _Skip(RewriteRuleClassBase):
    def __init__(self, *, is_root_mean_square: bool, has_bias: bool) -> None:
        super().__init__(name="skip-norm")
        self._is_root_mean_square, self._has_bias = is_root_mean_square, has_bias

    def pattern(self, op: Any, one: Any, other: Any, scale: Any, bias: Any) -> Any:
        """Matches a norm of a sum; both are answers."""
        total = op.Add(one, other, _outputs=["total"])
        if self._is_root_mean_square:
            return op.SimplifiedLayerNormalization(total, scale, _outputs=["normed"]), total
        given = (total, scale, bias) if self._has_bias else (total, scale)
        return op.LayerNormalization(*given, _outputs=["normed"]), total

    def check(self, context: Any, one: ir.Value, other: ir.Value, normed: ir.Value, **_: Any) -> MatchResult:
        """Declines sums of other shapes and types than the node takes."""
        result = MatchResult()
        node, sides = normed.producer(), _sides(one, other)
        if node is None or node.attributes.get_int("axis", -1) not in {-1, 2}:
            return result.fail("It is normalized over more than the last axis.", normed)
        if one.dtype not in FUSED_TYPES:
            return result.fail("The sum isn't known to be of float32 or float16.", one)
        if sides is None:
            return result.fail("The two that are added aren't known to have the same three axes.", other)
        return result

    def rewrite(self, op: Any, one: Any, other: Any, normed: ir.Value, **given: Any) -> Any:
        """Writes one node that answers both."""
        node = normed.producer()
        assert node is not None, "the pattern has it"
        epsilon = node.attributes.get_float("epsilon", 1e-5)
        name = "SkipSimplifiedLayerNormalization" if self._is_root_mean_square else "SkipLayerNormalization"
        columns = [given[name] for name in ("scale", "bias") if given.get(name) is not None]
        sides = _sides(one, other)
        assert sides is not None, "it has been checked"
        made = getattr(op, name)(*sides, *columns, epsilon=epsilon, _domain=CONTRIB, _outputs=4)
        return made[0], made[3]


def _sides(one: ir.Value, other: ir.Value) -> tuple[ir.Value, ir.Value] | None:
    """Both that are added, the whole one first: the other is as large, or the same for all rows."""
    for whole, skip in ((one, other), (other, one)):
        sizes, others = sizes_of(whole), sizes_of(skip)
        if sizes is None or len(sizes) != 3 or None in sizes or others is None:
            continue
        if others in {sizes, (1, *sizes[1:]), sizes[1:]}:
            return whole, skip
    return None


RULE = Rule(
    name="skip-norm",
    group="fusion",
    summary="Makes one node of a sum and its normalization.",
    patterns=lambda _: [
        _Skip.rule(is_root_mean_square=False, has_bias=True),
        _Skip.rule(is_root_mean_square=False, has_bias=False),
        _Skip.rule(is_root_mean_square=True, has_bias=False),
    ],
    makes=(Operator(CONTRIB, "SkipLayerNormalization"),),
)
