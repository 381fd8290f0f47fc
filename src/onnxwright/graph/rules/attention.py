"""Attention of many heads, as one node of ONNX Runtime.

`torch.nn.functional.scaled_dot_product_attention`, and `softmax(query @ key.transpose(-1, -2) * scale + mask) @ value`
of Hugging Face's eager attention, become `MultiHeadAttention`, which takes heads side by side: the transposes that
split them fall away with those that are written here. Causal masks, relative positions and keys repeated for groups
of queries stay what they are: something that is added, and keys.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.attending import Declined, fitted_mask, found_attention, hold_masks
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import CONTRIB, Operator


class Attending(RewriteRuleClassBase):
    """Finds attention; what it becomes is another's matter."""

    def pattern(self, op: Any, weights: Any, value: Any) -> Any:
        """Matches any product of matrices; `check` looks for the softmax before it."""
        return op.MatMul(weights, value, _outputs=["attended"])

    def check(self, context: Any, attended: ir.Value, **_: Any) -> MatchResult:
        """Declines what `attending` says."""
        result = MatchResult()
        try:
            found = found_attention(attended)
            if found is None:
                return result.fail()
            hold_masks(found, context.model.opset_imports.get("", 1))
        except Declined as declined:
            return result.fail(declined.reason, declined.culprit)
        return result


class _ManyHeads(Attending):
    def rewrite(self, op: Any, attended: ir.Value, **_: Any) -> Any:
        """Writes the node between transposes that undo those before and after it."""
        found = found_attention(attended)
        assert found is not None, "it has been checked"
        swapped = op.Transpose(found.key, perm=[0, 3, 1, 2])
        query, value = (op.Transpose(one, perm=[0, 2, 1, 3]) for one in (found.query, found.value))
        beside = [
            _side_by_side(op, one, width) for one, width in _widths(found.query, query, swapped, value, found.value)
        ]
        mask = fitted_mask(op, found, (query, 1), (swapped, 1))
        given = [*beside, None, None, mask] if mask is not None else beside
        answer = op.MultiHeadAttention(*given, num_heads=found.heads, scale=found.scale, _domain=CONTRIB)
        split = op.Constant(value=ir.tensor([0, 0, found.heads, found.width], dtype=ir.DataType.INT64))
        return op.Transpose(op.Reshape(answer, split), perm=[0, 2, 1, 3])


def _widths(given: ir.Value, query: Any, key: Any, value: Any, values: ir.Value) -> list[tuple[Any, int]]:
    """Query, key and value with how wide all their heads are together."""
    wide, narrow = (int(str(sizes[1])) * int(str(sizes[3])) for sizes in map(sizes_of, (given, values)) if sizes)
    return [(query, wide), (key, wide), (value, narrow)]


def _side_by_side(op: Any, value: Any, width: int) -> Any:
    return op.Reshape(value, op.Constant(value=ir.tensor([0, 0, width], dtype=ir.DataType.INT64)))


RULE = Rule(
    name="attention",
    group="fusion",
    summary="Makes one node of ONNX Runtime's of attention with many heads.",
    patterns=lambda _: [_ManyHeads.rule()],
    makes=(Operator(CONTRIB, "MultiHeadAttention"),),
)
