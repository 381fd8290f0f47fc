"""Transposes matrices where they are, instead of in a batch of one axis.

PyTorch's exporter writes the key of `scaled_dot_product_attention`, transposed, as a reshape to three axes, a transpose
of the last two, and a reshape back. It becomes one transpose.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import sizes_of


class _InPlace(RewriteRuleClassBase):
    def pattern(self, op: Any, x: Any, first: Any, second: Any) -> Any:
        """Matches a transpose of the last two of three axes between reshapes."""
        turned = op.Transpose(op.Reshape(x, first, _outputs=["flat"]), perm=[0, 2, 1])
        return op.Reshape(turned, second, _outputs=["back"])

    def check(self, context: Any, x: ir.Value, flat: ir.Value, back: ir.Value, **_: Any) -> MatchResult:
        """Declines where the axes before the matrices aren't the same at the end."""
        result = MatchResult()
        sizes, middle, target = sizes_of(x), sizes_of(flat), sizes_of(back)
        if sizes is None or middle is None or target is None or None in (*sizes, *target):
            return result.fail("The sizes aren't known.", x)
        if sizes[-2:] != middle[-2:] or target != (*sizes[:-2], sizes[-1], sizes[-2]):
            return result.fail("It is more than a transpose of matrices.", back)
        return result

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        """Swaps the last two axes."""
        rank = len(sizes_of(x) or ())
        return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])


RULE = Rule(
    name="batched-transposes",
    group="simplify",
    summary="Transposes matrices where they are, without reshapes around it.",
    patterns=lambda _: [_InPlace.rule()],
)
