"""Gelu of a sum with a bias, as one node of ONNX Runtime.

`gelu(linear(x))` is a product, a sum with the bias and `gelu`'s node; the last two become `BiasGelu`, or
`FastGelu` with a bias.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import CONTRIB, Operator


class _BiasGelu(RewriteRuleClassBase):
    def __init__(self, spelling: str) -> None:
        super().__init__()
        self._spelling = spelling

    def pattern(self, op: Any, x: Any, bias: Any) -> Any:
        """Matches Gelu of any sum."""
        return getattr(op, self._spelling)(op.Add(x, bias), _domain=CONTRIB)

    def check(self, context: Any, x: ir.Value, bias: ir.Value, **_: Any) -> MatchResult:
        """Declines what isn't one number a column."""
        result, sizes, width = MatchResult(), sizes_of(x), sizes_of(bias)
        if sizes is None or width is None or len(width) != 1 or len(sizes) < 2:
            return result.fail()
        if width[0] is None or width[0] != sizes[-1]:
            return result.fail("What is added isn't known to be one number a column.", bias)
        return result

    def rewrite(self, op: Any, x: Any, bias: Any) -> Any:
        """Hands the bias to the node."""
        name = "BiasGelu" if self._spelling == "Gelu" else self._spelling
        return getattr(op, name)(x, bias, _domain=CONTRIB)


RULE = Rule(
    name="bias-gelu",
    group="fusion",
    summary="Makes one node of a bias and Gelu.",
    patterns=lambda _: [rule for name in ("Gelu", "FastGelu") for rule in _BiasGelu.rule(name).commute()],
    makes=(Operator(CONTRIB, "BiasGelu"),),
)
