"""Attention together with the product that makes its query, key and value.

After `merged-products` and `attention`, self-attention is one product with a bias, a `Split` in three, and
`MultiHeadAttention`, whose parts it takes in that order. ONNX Runtime's `Attention` does all of it on its own.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import array, weight
from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import CONTRIB, Operator


class _Packed(RewriteRuleClassBase):
    def __init__(self, *, has_mask: bool, is_bias_first: bool) -> None:
        super().__init__()
        self._has_mask, self._is_bias_first = has_mask, is_bias_first

    def pattern(self, op: Any, x: Any, columns: Any, bias: Any, widths: Any, mask: Any) -> Any:
        """Matches attention to three parts of one value."""
        product = op.MatMul(x, columns)
        total = op.Add(bias, product) if self._is_bias_first else op.Add(product, bias)
        query, key, value = op.Split(total, widths, axis=-1, _outputs=["query", "key", "value"])
        given = (query, key, value, None, None, mask) if self._has_mask else (query, key, value)
        return op.MultiHeadAttention(*given, _domain=CONTRIB, _outputs=["attended"])

    def check(self, context: Any, x: ir.Value, columns: ir.Value, widths: ir.Value, **given: Any) -> MatchResult:
        """Declines parts of several widths, and weights that are computed."""
        result, parts = MatchResult(), array(widths)
        if parts is None or len(set(parts.tolist())) != 1:
            return result.fail("Query, key and value aren't equally wide.", widths)
        if weight(columns) is None or len(sizes_of(given["bias"]) or ()) != 1:
            return result.fail("The weight is computed, or its bias is none.", columns)
        if len(sizes_of(x) or ()) != 3:
            return result.fail("What is attended to isn't known to have three axes.", x)
        return result

    def rewrite(self, op: Any, x: Any, columns: Any, bias: Any, attended: ir.Value, **given: Any) -> Any:
        """Writes one node."""
        node = attended.producer()
        assert node is not None, "the pattern has it"
        mask = [None, None, given["mask"]] if self._has_mask else []
        settings = {"num_heads": node.attributes.get_int("num_heads"), "scale": node.attributes.get_float("scale")}
        return op.Attention(x, columns, bias, *mask, **settings, _domain=CONTRIB)


RULE = Rule(
    name="packed-attention",
    group="fusion",
    summary="Makes one node of attention and of the product before it.",
    patterns=lambda _: [
        _Packed.rule(has_mask=has_mask, is_bias_first=is_bias_first)
        for has_mask in (True, False)
        for is_bias_first in (True, False)
    ],
    makes=(Operator(CONTRIB, "Attention"),),
)
