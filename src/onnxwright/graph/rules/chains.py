"""Drops what undoes or repeats what stands before it, and what does nothing.

Casts to the type at hand, transposes of transposes, slices of slices, unsqueezed unsqueezes. PyTorch code writes these
one module at a time (`x.transpose(1, 2)` at the end of one, and again at the beginning of the next), `.to(x.dtype)` for
safety. The patterns are `onnxscript`'s, but for casts, of which a function may be told the type when it's called, and a
transpose that undoes one which something else takes, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule


class _TurnedBack(RewriteRuleClassBase):
    def __init__(self) -> None:
        super().__init__(remove_nodes=False)

    def pattern(self, op: Any, x: Any, first: Any, second: Any) -> Any:
        """Matches a transpose of a transpose, which others may take, too."""
        return op.Transpose(op.Transpose(x, perm=first), perm=second)

    def check(self, context: Any, first: ir.Attr, second: ir.Attr, **_: Any) -> MatchResult:
        """Declines where the axes aren't where they were."""
        result = MatchResult()
        if first.is_ref() or second.is_ref():
            return result.fail("A function is told how to transpose.")
        before, after = first.as_ints(), second.as_ints()
        return result if [before[axis] for axis in after] == list(range(len(before))) else result.fail()

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        """Leaves the value."""
        return op.Identity(x)


class _CastIdle(RewriteRuleClassBase):
    def pattern(self, op: Any, x: Any, to: Any) -> Any:
        """Matches any cast."""
        return op.Cast(x, to=to)

    def check(self, context: Any, x: ir.Value, to: ir.Attr) -> MatchResult:
        """Declines where it isn't known that the type stays: a function may be told it when it's called."""
        result = MatchResult()
        return result if x.dtype is not None and not to.is_ref() and x.dtype == to.as_int() else result.fail()

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        """Leaves the value."""
        return op.Identity(x)


class _CastTwice(RewriteRuleClassBase):
    def pattern(self, op: Any, x: Any, first: Any, second: Any) -> Any:
        """Matches a cast of a cast that nothing else takes."""
        return op.Cast(op.Cast(x, to=first), to=second)

    def check(self, context: Any, first: ir.Attr, second: ir.Attr, **_: Any) -> MatchResult:
        """Declines but where a lower floating-point type is reached by way of float32."""
        result = MatchResult()
        if first.is_ref() or second.is_ref() or first.as_int() != ir.DataType.FLOAT:
            return result.fail()
        return result if second.as_int() in {ir.DataType.FLOAT16, ir.DataType.BFLOAT16} else result.fail()

    def rewrite(self, op: Any, x: ir.Value, second: ir.Attr, **_: Any) -> Any:
        """Casts at once."""
        return op.Cast(x, to=second)


def _patterns(_: object) -> Sequence[Any]:
    from onnxscript.rewriter.rules import common

    return (
        _CastTwice.rule(),
        _CastIdle.rule(),
        common.transpose_transpose_rule,
        common.no_op_transpose_rule,
        common.unsqueeze_unsqueeze_rule,
        common.squeeze_reshape_1d_rule,
        common.collapse_slice_rule,
        common.collapse_slice2_rule,
        common.dropout_zero_rule,
        _TurnedBack.rule(),
    )


RULE = Rule(
    name="chains",
    group="simplify",
    summary="Drops operators that undo or repeat what stands before them, or do nothing.",
    patterns=_patterns,
    is_quiet=True,
)
