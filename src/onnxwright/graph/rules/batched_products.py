"""Multiplies matrices where they are, instead of in a batch of one axis.

Code that attends by `torch.bmm` makes one axis of rows and heads, and two of them again afterwards, as DeBERTa does:
`view(-1, sequence, width)`, scores scaled and added to, `view(-1, heads, sequence, sequence)`. A reshape that joins the
first two of four axes is moved behind what comes after it: a product with a value that is joined likewise, a transpose
of the last two axes, a number that it is scaled by, and a sum with a value of its sizes. Where it meets its inverse,
both go. What is repeated for each row to be a factor beside it, as a table of relative positions is, is none of that
but the table: products repeat it themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import number
from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import ONE_SIZE_OPSET, Sizes, sizes_of


class _Moved(RewriteRuleClassBase):
    def __init__(self) -> None:
        super().__init__(remove_nodes=False)

    def check(self, context: Any, **values: Any) -> MatchResult:
        """Declines other reshapes, and axes of which nothing is known."""
        result = MatchResult()
        if context.model.opset_imports.get("", 1) < ONE_SIZE_OPSET:
            return result.fail("This opset can't ask for one size.", context.root)
        for name in ("joined", "likewise"):
            if name in values and not _joins_first_two(values[name]):
                return result.fail("It isn't known that only the first two axes are joined.", values[name])
        return result


class _Product(_Moved):
    def pattern(self, op: Any, x: Any, z: Any, one: Any, other: Any) -> Any:
        """Matches a product of two values that are joined."""
        joined, likewise = op.Reshape(x, one, _outputs=["joined"]), op.Reshape(z, other, _outputs=["likewise"])
        return op.MatMul(joined, likewise, _outputs=["made"])

    def check(self, context: Any, **values: Any) -> MatchResult:
        """Declines values whose first axes aren't the same."""
        result = super().check(context, **values)
        if result and (sizes_of(values["x"]) or ())[:2] != (sizes_of(values["z"]) or ())[:2]:
            return result.fail("The axes that are joined aren't known to be the same.", values["z"])
        return result

    def rewrite(self, op: Any, x: Any, z: Any, **_: Any) -> Any:
        """Multiplies, then joins."""
        return _joined(op, op.MatMul(x, z), (x, 2), (z, 3))


class _Repeated(_Moved):
    def pattern(self, op: Any, x: Any, one: Any, table: Any, times: Any) -> Any:
        """Matches a product of a value that is joined and a table for each row."""
        joined = op.Reshape(x, one, _outputs=["joined"])
        return op.MatMul(joined, op.Tile(table, times, _outputs=["repeated"]), _outputs=["made"])

    def check(self, context: Any, **values: Any) -> MatchResult:
        """Declines tables that aren't known to have the second of the axes that are joined, or repeat otherwise."""
        result = super().check(context, **values)
        x, joined, table, repeated = (sizes_of(values[name]) for name in ("x", "joined", "table", "repeated"))
        if not result or x is None or joined is None:
            return result
        if not _is_by_row(table, repeated) or table is None or repeated is None:
            return result.fail("It isn't known to be repeated along the first axis alone.", values["repeated"])
        if table[0] != x[1] or repeated[0] != joined[0]:
            return result.fail("It isn't known to be repeated for each row.", values["repeated"])
        return result

    def rewrite(self, op: Any, x: Any, table: Any, **_: Any) -> Any:
        """Multiplies with the table, then joins."""
        return _joined(op, op.MatMul(x, table), (x, 2), (table, 2))


class _RepeatedLater(RewriteRuleClassBase):
    def pattern(self, op: Any, table: Any, times: Any) -> Any:
        """Matches a transpose of the last two axes of what is repeated."""
        return op.Transpose(op.Tile(table, times, _outputs=["repeated"]), perm=[0, 2, 1])

    def check(self, context: Any, table: ir.Value, repeated: ir.Value, **_: Any) -> MatchResult:
        """Declines what may be repeated along another axis."""
        result = MatchResult()
        return result if _is_by_row(sizes_of(table), sizes_of(repeated)) else result.fail()

    def rewrite(self, op: Any, table: Any, times: Any, **_: Any) -> Any:
        """Transposes, then repeats."""
        return op.Tile(op.Transpose(table, perm=[0, 2, 1]), times)


def _is_by_row(table: Sizes | None, repeated: Sizes | None) -> bool:
    """Whether something of three axes is known to be repeated along the first alone."""
    if table is None or repeated is None or len(table) != 3 or len(repeated) != 3 or None in (*table, *repeated[1:]):
        return False
    return table[1:] == repeated[1:]


class _Turned(_Moved):
    def pattern(self, op: Any, x: Any, one: Any) -> Any:
        """Matches a transpose of the last two axes."""
        return op.Transpose(op.Reshape(x, one, _outputs=["joined"]), perm=[0, 2, 1])

    def rewrite(self, op: Any, x: Any, **_: Any) -> Any:
        """Transposes, then joins."""
        return _joined(op, op.Transpose(x, perm=[0, 1, 3, 2]), (x, 3), (x, 2))


class _Scaled(_Moved):
    def __init__(self, operator: str) -> None:
        super().__init__()
        self._operator = operator

    def pattern(self, op: Any, x: Any, one: Any, by: Any) -> Any:
        """Matches a product with a number, or a division by one."""
        return getattr(op, self._operator)(op.Reshape(x, one, _outputs=["joined"]), by)

    def check(self, context: Any, **values: Any) -> MatchResult:
        """Declines what is no number."""
        result = super().check(context, **values)
        return result if number(values["by"]) is not None else MatchResult().fail()

    def rewrite(self, op: Any, x: Any, by: Any, one: Any, **_: Any) -> Any:
        """Scales, then joins."""
        return op.Reshape(getattr(op, self._operator)(x, by), one)


class _Added(_Moved):
    def pattern(self, op: Any, x: Any, one: Any, other: Any) -> Any:
        """Matches a sum."""
        return op.Add(op.Reshape(x, one, _outputs=["joined"]), other)

    def check(self, context: Any, **values: Any) -> MatchResult:
        """Declines what isn't known to be as large."""
        result = super().check(context, **values)
        if result and sizes_of(values["joined"]) != sizes_of(values["other"]):
            return result.fail("What is added isn't known to be as large.", values["other"])
        return result

    def rewrite(self, op: Any, x: Any, other: Any, one: Any, **_: Any) -> Any:
        """Takes the other apart, adds, then joins."""
        heads = op.Constant(value=ir.tensor([-1, int(str((sizes_of(x) or ())[1]))], dtype=ir.DataType.INT64))
        apart = op.Concat(heads, op.Shape(other, start=1), axis=0)
        return op.Reshape(op.Add(x, op.Reshape(other, apart)), one)


def _joins_first_two(value: ir.Value) -> bool:
    """Whether a value is a reshape that makes one of the first two of four axes."""
    node = value.producer()
    before, after = (sizes_of(node.inputs[0]), sizes_of(value)) if node is not None else (None, None)
    if before is None or after is None or len(before) != 4 or len(after) != 3 or None in (*before, *after):
        return False
    return before[2:] == after[1:] and isinstance(before[1], int)


def _joined(op: Any, value: Any, rows: tuple[Any, int], columns: tuple[Any, int]) -> Any:
    """One axis of the first two; how long the others are, values say at one of their axes."""
    rest = op.Constant(value=ir.tensor([-1], dtype=ir.DataType.INT64))
    lengths = [op.Shape(whole, start=axis, end=axis + 1) for whole, axis in (rows, columns)]
    return op.Reshape(value, op.Concat(rest, *lengths, axis=0))


def _patterns(_: object) -> Sequence[Any]:
    scaled = [_Scaled.rule("Div"), *_Scaled.rule("Mul").commute()]
    repeated = [_Repeated.rule(), _RepeatedLater.rule()]
    return [_Product.rule(), *repeated, _Turned.rule(), *scaled, *_Added.rule().commute()]


RULE = Rule(
    name="batched-products",
    group="simplify",
    summary="Multiplies matrices of rows and heads without making one axis of both.",
    patterns=_patterns,
    is_quiet=True,
)
