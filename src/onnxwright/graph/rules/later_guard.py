"""Moves the guard that PyTorch's attention puts around its softmax behind the product with the values.

`torch.nn.functional.scaled_dot_product_attention` answers zeros, not NaN, for a row in which everything is masked; both
exporters write that as `Where(IsNaN(p), 0, p) @ values` on `p = Softmax(x)`. A row of `p` is NaN throughout or
nowhere, and so is that row of `p @ values`: it becomes `Where(IsNaN(y), 0, y)` on `y = p @ values`, which holds a fused
attention, too. Only values that aren't finite tell the two apart, so that it needs a proof.
"""

from __future__ import annotations

from typing import Any

from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.nan_guard import held_to_zero


class _Later(RewriteRuleClassBase):
    def pattern(self, op: Any, scores: Any, zero: Any, values: Any, axis: Any) -> Any:
        """Matches a guarded softmax and its product with the values."""
        softmax = op.Softmax(scores, axis=axis, _outputs=["softmax"])
        return op.MatMul(op.Where(op.IsNaN(softmax), zero, softmax), values)

    def check(self, context: Any, scores: Any, zero: Any, axis: Any, **_: Any) -> MatchResult:
        """Declines another replacement than zero, and a softmax over another axis than the last."""
        result = held_to_zero(zero)
        last = {-1} if scores.shape is None else {-1, scores.shape.rank() - 1}
        if result and axis.as_int() not in last:
            return result.fail("The softmax isn't taken over the last axis.", scores)
        return result

    def rewrite(self, op: Any, scores: Any, zero: Any, values: Any, axis: Any, **_: Any) -> Any:
        """Writes the product, then the guard."""
        product = op.MatMul(op.Softmax(scores, axis=axis.as_int()), values)
        return op.Where(op.IsNaN(product), zero, product)


RULE = Rule(
    name="later-guard",
    group="simplify",
    summary="Moves the guard against rows of attention that are masked whole behind the product.",
    patterns=lambda _: [_Later.rule()],
    needs_proof=True,
)
