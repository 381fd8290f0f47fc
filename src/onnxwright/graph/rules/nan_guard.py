"""Drops the guard that PyTorch's attention puts around its softmax.

`torch.nn.functional.scaled_dot_product_attention` answers zeros, not NaN, for a row in which everything is masked with
minus infinity; both exporters write that as `Where(IsNaN(p), 0, p)` on `p = Softmax(x)`. It becomes `p`. That is right
only where no row is masked whole, or masked with a finite number; hence it needs a proof.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import number
from onnxwright.graph.rules import Rule


def held_to_zero(replacement: ir.Value) -> MatchResult:
    """Declines what NaN is replaced by, unless it is zero."""
    result = MatchResult()
    given = number(replacement)
    if given is None or given != 0 or np.isnan(given):
        return result.fail("NaN is replaced by something else than zero.", replacement)
    return result


class _Guard(RewriteRuleClassBase):
    def pattern(self, op: Any, scores: Any, zero: Any, axis: Any) -> Any:
        """Matches the guard, whose softmax stands in it twice."""
        softmax = op.Softmax(scores, axis=axis, _outputs=["softmax"])
        return op.Where(op.IsNaN(softmax), zero, softmax)

    def check(self, context: Any, zero: Any, **_: Any) -> MatchResult:
        """Declines another replacement than zero."""
        return held_to_zero(zero)

    def rewrite(self, op: Any, scores: Any, axis: Any, **_: Any) -> Any:
        """Leaves the softmax."""
        return op.Softmax(scores, axis=axis.as_int())


RULE = Rule(
    name="nan-guard",
    group="simplify",
    summary="Drops the guard against rows of attention that are masked whole.",
    patterns=lambda _: [_Guard.rule()],
    needs_proof=True,
)
