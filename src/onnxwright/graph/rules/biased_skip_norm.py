"""A bias before the sum that is normalized, as an input of ONNX Runtime's node.

`norm(dense(hidden) + residual)` is a product, a sum with its bias, and `SkipLayerNormalization`, which adds a
bias itself.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import CONTRIB, Operator

_OUTPUTS = ["normed", "mean", "deviation", "total"]


class _Biased(RewriteRuleClassBase):
    def __init__(self, *, is_second: bool) -> None:
        super().__init__()
        self._is_second = is_second

    def pattern(self, op: Any, x: Any, bias: Any, skip: Any, scale: Any, shift: Any) -> Any:
        """Matches a sum of a biased value and another, normalized."""
        biased = op.Add(x, bias)
        sides = (skip, biased) if self._is_second else (biased, skip)
        made = op.SkipLayerNormalization(*sides, scale, shift, _domain=CONTRIB, _outputs=_OUTPUTS)
        return made[0], made[3]

    def check(self, context: Any, x: ir.Value, bias: ir.Value, scale: ir.Value, **given: Any) -> MatchResult:
        """Declines what isn't one number a column."""
        result = MatchResult()
        if len(sizes_of(bias) or ()) != 1 or len(sizes_of(x) or ()) != 3:
            return result.fail()
        if sizes_of(bias) != sizes_of(scale):
            return result.fail("What is added isn't known to be one number a column.", bias)
        if self._is_second and sizes_of(x) != sizes_of(given["skip"]):
            return result.fail("What has the bias isn't known to be as large as the other.", x)
        return result

    def rewrite(self, op: Any, x: Any, bias: Any, skip: Any, scale: Any, shift: Any, normed: ir.Value, **_: Any) -> Any:
        """Hands the bias to the node."""
        node = normed.producer()
        assert node is not None, "the pattern has it"
        epsilon = node.attributes.get_float("epsilon", 1e-12)
        given = (x, skip, scale, shift, bias)
        made = op.SkipLayerNormalization(*given, epsilon=epsilon, _domain=CONTRIB, _outputs=4)
        return made[0], made[3]


RULE = Rule(
    name="biased-skip-norm",
    group="fusion",
    summary="Hands a bias to the node that sums and normalizes.",
    patterns=lambda _: [rule for is_second in (False, True) for rule in _Biased.rule(is_second=is_second).commute()],
    makes=(Operator(CONTRIB, "SkipLayerNormalization"),),
)
