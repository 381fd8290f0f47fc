"""Drops what gives the value that it takes.

An `Expand` to the sizes at hand (`x.expand_as(y)`, `mask.expand(batch, 1, s, s)`), a `Slice` of everything (`x[:, :]`),
axes that are added and taken away again, `And` with what is true throughout, a sum with zeros (but for the sign of a
zero) or a product with ones, and dropout, which does nothing outside of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import array
from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.reshapes import is_same
from onnxwright.graph.sizes import sizes_of

_EITHER_WAY: Final = (("And", 1), ("Add", 0), ("Mul", 1))
_BEHIND: Final = (("Sub", 0), ("Div", 1))
"""Operators, and the number that changes nothing: in either place, or as the second."""


class _Unchanged(RewriteRuleClassBase):
    def __init__(self, *operators: str) -> None:
        super().__init__()
        self._operators = operators

    def pattern(self, op: Any, x: Any) -> Any:
        """Matches operators one after the other."""
        value = x
        for operator in self._operators:
            value = getattr(op, operator)(value, _allow_other_inputs=True)
        return value

    def check(self, context: Any, x: ir.Value) -> MatchResult:
        """Declines where sizes differ, or may."""
        result = MatchResult()
        if not is_same(sizes_of(x), sizes_of(context.output_values[0])):
            return result.fail("It isn't known that the sizes are the same.", x)
        steps = context.root.inputs[4:5] if context.root.op_type == "Slice" else ()
        if not all(_is_forwards(step) for step in steps):
            return result.fail("It may be reversed.", context.root)
        return result

    def rewrite(self, op: Any, x: ir.Value) -> Any:
        """Leaves the value."""
        return op.Identity(x)


def _is_forwards(steps: ir.Value | None) -> bool:
    numbers = array(steps)
    return steps is None or (numbers is not None and bool((numbers > 0).all()))


class _Neutral(RewriteRuleClassBase):
    def __init__(self, operator: str, number: float) -> None:
        super().__init__()
        self._operator, self._number = operator, number

    def pattern(self, op: Any, x: Any, other: Any) -> Any:
        """Matches the operator."""
        return getattr(op, self._operator)(x, other, _outputs=["both"])

    def check(self, context: Any, x: ir.Value, other: ir.Value, both: ir.Value) -> MatchResult:
        """Declines where the other may be another number, or makes it larger."""
        result = MatchResult()
        if not _is_throughout(other, self._number):
            return result.fail(f"It isn't known to be {self._number:g} throughout.", other)
        is_as_large = sizes_of(other) == () or is_same(sizes_of(x), sizes_of(both))
        return result if is_as_large else result.fail("The sizes may differ.", x)

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        """Leaves the value."""
        return op.Identity(x)


def _is_throughout(value: ir.Value, number: float) -> bool:
    node, numbers = value.producer(), array(value)
    if node is not None and node.op_type == "ConstantOfShape" and "value" in node.attributes:
        numbers = node.attributes["value"].as_tensor().numpy()
    return numbers is not None and numbers.dtype.kind in "bifu" and bool((numbers == number).all())


class _Dropout(RewriteRuleClassBase):
    def pattern(self, op: Any, x: Any) -> Any:
        """Matches dropout of which nothing takes the mask."""
        return op.Dropout(x, _allow_other_inputs=True)

    def check(self, context: Any, **_: Any) -> MatchResult:
        """Declines where it is, or may be, as in training."""
        result, modes = MatchResult(), context.root.inputs[2:]
        training = [array(mode) for mode in modes if mode is not None]
        if any(mode is None or mode.any() for mode in training):
            return result.fail("It drops values, as in training.", context.root)
        return result

    def rewrite(self, op: Any, x: ir.Value) -> Any:
        """Leaves the value."""
        return op.Identity(x)


def _patterns(_: object) -> Sequence[Any]:
    chains = (("Expand",), ("Slice",), ("Unsqueeze", "Squeeze"), ("Squeeze", "Unsqueeze"))
    neutral = [rule for given in _EITHER_WAY for rule in _Neutral.rule(*given).commute()]
    behind = [_Neutral.rule(*given) for given in _BEHIND]
    return [*(_Unchanged.rule(*operators) for operators in chains), *neutral, *behind, _Dropout.rule()]


RULE = Rule(
    name="unchanged",
    group="simplify",
    summary="Drops operators that give the value that they take.",
    patterns=_patterns,
    is_quiet=True,
)
