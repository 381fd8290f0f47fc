"""Causal attention of queries in groups, each with one key and value, as one node of ONNX Runtime.

`repeat_kv` in Hugging Face's Llama repeats keys and values for the queries that share them; `GroupQueryAttention`
takes them once. It attends to no later position, whatever is added to the scores: that is right only where the mask is
causal, and where no row is masked whole; hence it needs a proof.
"""

from __future__ import annotations

from typing import Any, Final

import onnx_ir as ir
from onnxscript.rewriter import MatchResult

from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.attending import Attention, fitted_mask, found_attention
from onnxwright.graph.rules.attention import Attending
from onnxwright.graph.rules.native_attention import taken_once
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import CONTRIB, Operator

_WIDTHS: Final = 8


class _Grouped(Attending):
    def check(self, context: Any, attended: ir.Value, **given: Any) -> MatchResult:
        """Declines what nothing masks, keys that aren't repeated, and heads of several widths."""
        result = super().check(context, attended, **given)
        if not result:
            return result
        found = found_attention(attended)
        assert found is not None, "it has been checked"
        once = taken_once(found)
        if once is None:
            return result.fail("Keys and values aren't repeated for groups of queries.", found.key)
        if not found.masks:
            return result.fail("Nothing is masked, and the node attends to no later position.", attended)
        if (sizes_of(found.query) or ())[-1] != found.width:
            return result.fail("The heads of query and value aren't equally wide.", found.value)
        if found.width % _WIDTHS:
            return result.fail(f"ONNX Runtime takes heads whose width is a multiple of {_WIDTHS}.", found.query)
        return result

    def rewrite(self, op: Any, attended: ir.Value, **_: Any) -> Any:
        """Writes the node between transposes that undo those before and after it."""
        found = found_attention(attended)
        assert found is not None, "it has been checked"
        once = taken_once(found)
        assert once is not None, "it has been checked"
        groups = int(str((sizes_of(once[0]) or ())[1]))
        query, key, value = (op.Transpose(one, perm=[0, 2, 1, 3]) for one in (found.query, *once))
        mask = fitted_mask(op, found, (query, 1), (key, 1))
        parts = [_beside(op, query, found.heads, found), *(_beside(op, one, groups, found) for one in (key, value))]
        given = [*parts, None, None, *_lengths(op, query), None, None, None, mask]
        options = {"num_heads": found.heads, "kv_num_heads": groups, "scale": found.scale}
        answer = op.GroupQueryAttention(*given, **options, _domain=CONTRIB)
        split = op.Constant(value=ir.tensor([0, 0, found.heads, found.width], dtype=ir.DataType.INT64))
        return op.Transpose(op.Reshape(answer, split), perm=[0, 2, 1, 3])


def _beside(op: Any, value: Any, heads: int, found: Attention) -> Any:
    """Heads side by side."""
    return op.Reshape(value, op.Constant(value=ir.tensor([0, 0, heads * found.width], dtype=ir.DataType.INT64)))


def _lengths(op: Any, query: Any) -> tuple[Any, Any]:
    """How long each row is, less one, and how long all of them are."""
    one = op.Constant(value=ir.tensor([1], dtype=ir.DataType.INT32))
    length = op.Cast(op.Shape(query, start=1, end=2), to=ir.DataType.INT32)
    rows = op.Expand(op.Sub(length, one), op.Shape(query, start=0, end=1))
    return rows, op.Squeeze(length)


RULE = Rule(
    name="grouped-attention",
    group="fusion",
    summary="Makes one node of ONNX Runtime's of causal attention in groups.",
    patterns=lambda _: [_Grouped.rule()],
    makes=(Operator(CONTRIB, "GroupQueryAttention"),),
    needs_proof=True,
)
