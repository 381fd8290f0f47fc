"""Drops what undoes or repeats what stands before it, and what does nothing.

Casts to the type at hand, transposes of transposes, slices of slices, unsqueezed unsqueezes, sums with 0, products
with 1. PyTorch code writes these one module at a time (`x.transpose(1, 2)` at the end of one, and
again at the beginning of the next), `.to(x.dtype)` for safety. The patterns are `onnxscript`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxwright.graph.rules import Rule


def _patterns(_: object) -> Sequence[Any]:
    from onnxscript.rewriter.rules import common

    return (
        common.cast_cast_rule,
        common.no_op_cast_rule,
        common.transpose_transpose_rule,
        common.no_op_transpose_rule,
        common.unsqueeze_unsqueeze_rule,
        common.squeeze_reshape_1d_rule,
        common.collapse_slice_rule,
        common.collapse_slice2_rule,
        common.mul_by_1_rule,
        common.div_by_1_rule,
        common.add_0_rule,
        common.sub_0_rule,
        common.dropout_zero_rule,
    )


RULE = Rule(
    name="chains",
    group="simplify",
    summary="Drops operators that undo or repeat what stands before them, or do nothing.",
    patterns=_patterns,
    is_quiet=True,
)
