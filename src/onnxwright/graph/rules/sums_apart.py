"""Keeps a sum apart from what ONNX Runtime would join it to.

It makes one node, `SkipLayerNormalization`, of a sum and the norm of it, and `BiasGelu` of a sum and its `Gelu`. On the
CPU the first takes several times as long as the two together, from a few rows on (1.32: seven times with 128 rows of
768). `Add` before such a node becomes `Sum` of the same two, which is not joined.
"""

from __future__ import annotations

from typing import Any, Final

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule
from onnxwright.graph.targets import CONTRIB, RMS_NORM, Operator

_JOINING: Final = {
    ("", "LayerNormalization"),
    ("", RMS_NORM),
    ("", "RMSNormalization"),
    ("", "Gelu"),
    *((CONTRIB, name) for name in ("Gelu", "FastGelu", "QuickGelu")),
}
_BROADCASTING: Final = 8
"""Since this opset, `Sum` takes inputs of different shapes."""


class _Apart(RewriteRuleClassBase):
    def pattern(self, op: Any, one: Any, other: Any) -> Any:
        """Matches a sum."""
        return op.Add(one, other, _outputs=["total"])

    def check(self, context: Any, one: ir.Value, total: ir.Value, **_: Any) -> MatchResult:
        """Declines sums of other types than the operator has on the CPU, and those that nothing joins."""
        result = MatchResult()
        if not any((user.domain, user.op_type) in _JOINING for user, _ in total.uses()):
            return result.fail("It isn't joined to anything.", total)
        if one.dtype not in {ir.DataType.FLOAT, ir.DataType.DOUBLE}:
            return result.fail("The sum isn't known to be of float32 or float64.", one)
        if context.model.opset_imports.get("", 1) < _BROADCASTING:
            return result.fail("This opset doesn't sum values of different shapes.", context.root)
        return result

    def rewrite(self, op: Any, one: Any, other: Any, **_: Any) -> Any:
        """Sums by an operator that is not looked for."""
        return op.Sum(one, other)


RULE = Rule(
    name="sums-apart",
    group="fusion",
    summary="Keeps a sum apart from the norm or Gelu that ONNX Runtime would join it to, at a loss.",
    patterns=lambda _: [_Apart.rule()],
    makes=(Operator(CONTRIB, "SkipLayerNormalization"),),  # an engine that has none joins nothing to it
    is_quiet=True,
)
