"""Gives reshapes a constant shape, joins two that follow each other, and drops those that change nothing.

`x.view(x.size(0), -1, heads, width)` becomes a chain of `Shape`, `Gather`, `Unsqueeze` and `Concat` in front of a
`Reshape`. Where the sizes are known by number or by name, one constant says the same: `0` for a size that stays at its
axis, and `-1` for at most one other that has no number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import array
from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import Sizes, sizes_of


def spelled(sizes: Sizes | None, target: Sizes | None) -> list[int] | None:
    """Returns the shape that reshapes these sizes to those, as `Reshape` takes it; None where it can't be told."""
    if sizes is None or target is None or 0 in target:
        return None
    kept = [axis < len(sizes) and size is not None and size == sizes[axis] for axis, size in enumerate(target)]
    pairs = list(zip(target, kept, strict=True))
    shape = [size if isinstance(size, int) else 0 if is_kept else -1 for size, is_kept in pairs]
    return shape if shape.count(-1) <= 1 else None


def is_same(sizes: Sizes | None, target: Sizes | None) -> bool:
    """Whether two shapes are known to be equal, up to one size that then must be."""
    if sizes is None or target is None or len(sizes) != len(target):
        return False
    return all(size is not None and size == other for size, other in zip(sizes, target, strict=True))


class _Constant(RewriteRuleClassBase):
    def pattern(self, op: Any, x: Any, shape: Any) -> Any:
        """Matches any reshape."""
        return op.Reshape(x, shape, _outputs=["reshaped"])

    def check(self, context: Any, x: ir.Value, shape: ir.Value, reshaped: ir.Value) -> MatchResult:
        """Declines shapes that are constant already, and sizes that aren't known."""
        result = MatchResult()
        if is_same(sizes_of(x), sizes_of(reshaped)):
            return result
        if array(shape) is not None:
            return result.fail("The shape is a constant.", shape)
        if spelled(sizes_of(x), sizes_of(reshaped)) is None:
            return result.fail("More than one size has no number and doesn't stay at its axis.", reshaped)
        return result

    def rewrite(self, op: Any, x: ir.Value, reshaped: ir.Value, **_: Any) -> Any:
        """Leaves the value, or reshapes it to a constant."""
        return _reshaped(op, x, sizes_of(reshaped))


class _Twice(RewriteRuleClassBase):
    def __init__(self) -> None:
        super().__init__(remove_nodes=False)

    def pattern(self, op: Any, x: Any, first: Any, second: Any) -> Any:
        """Matches a reshape of a reshape, which others may take, too."""
        return op.Reshape(op.Reshape(x, first), second, _outputs=["reshaped"])

    def check(self, context: Any, x: ir.Value, reshaped: ir.Value, **_: Any) -> MatchResult:
        """Declines sizes that can't be told from those before both."""
        result = MatchResult()
        if spelled(sizes_of(x), sizes_of(reshaped)) is None:
            return result.fail("More than one size has no number and doesn't stay at its axis.", reshaped)
        return result

    def rewrite(self, op: Any, x: ir.Value, reshaped: ir.Value, **_: Any) -> Any:
        """Reshapes once."""
        return _reshaped(op, x, sizes_of(reshaped))


def _reshaped(op: Any, x: ir.Value, target: Sizes | None) -> Any:
    sizes = sizes_of(x)
    if is_same(sizes, target):
        return op.Identity(x)
    shape = np.array(spelled(sizes, target), dtype=np.int64)
    return op.Reshape(x, op.Constant(value=ir.tensor(shape)))


RULE = Rule(
    name="reshapes",
    group="simplify",
    summary="Gives reshapes constant shapes, and drops those that another follows or that change nothing.",
    patterns=lambda _: [_Twice.rule(), _Constant.rule()],
    is_quiet=True,
)
