"""Takes a value as it is where all of its elements are gathered, in order.

Masks that are written for one row and one position at a time (`padding_mask[batch, position]` under `vmap`, as
transformers' mask functions are) index by both at once: exporters flatten the mask, and gather at
`position + length * row`, with rows and positions counted from 0. What comes of it is the mask, with axes of size 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import array, commuted, number
from onnxwright.graph.following import follow_sizes
from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import Size, Sizes, sizes_of

_AXES_GIVEN: Final = 13
"""From this opset on, `Unsqueeze` takes its axes as an input."""


class _Seen(RewriteRuleClassBase):
    """Leaves what it matches to those who take it elsewhere."""

    def __init__(self) -> None:
        super().__init__(remove_nodes=False)


class _Gathered(_Seen):
    def pattern(self, op: Any, flat: Any, places: Any) -> Any:
        """Matches a gathering along the first axis."""
        return op.Gather(flat, places, _outputs=["gathered"])

    def check(self, context: Any, flat: ir.Value, places: ir.Value, **_: Any) -> MatchResult:
        """Declines where it isn't known that each element is taken once, in order."""
        result = MatchResult()
        sizes = sizes_of(_flattened(flat))
        if context.model.opset_imports.get("", 1) < _AXES_GIVEN or _axis(context.root) != 0 or sizes is None:
            return result.fail("No value of two axes is taken along both at once.", context.root)
        axes = _axes(places, sizes, context.model)
        if axes is None:
            return result.fail("It isn't known that all elements are gathered in order.", places)
        self._axes = axes
        return result

    def rewrite(self, op: Any, flat: ir.Value, places: ir.Value, **_: Any) -> Any:
        """Adds the axes that the places have beside those of rows and columns, and that of single elements."""
        rank = len(sizes_of(places) or ()) + len(sizes_of(flat) or ()) - 1
        return _spread(op, _flattened(flat), [axis for axis in range(rank) if axis not in self._axes])


class _Reshaped(_Seen):
    def pattern(self, op: Any, x: Any, axes: Any, shape: Any) -> Any:
        """Matches axes that are added, and others left."""
        return op.Reshape(op.Unsqueeze(x, axes), shape, _outputs=["made"])

    def check(self, context: Any, x: ir.Value, made: ir.Value, **_: Any) -> MatchResult:
        """Declines where more than axes of size 1 differ."""
        result = MatchResult()
        added = _added(sizes_of(x), sizes_of(made))
        if context.model.opset_imports.get("", 1) < _AXES_GIVEN or added is None:
            return result.fail("It isn't known that only axes of size 1 differ.", context.root)
        self._added = added
        return result

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        """Adds the axes that are left."""
        return _spread(op, x, self._added)


def _spread(op: Any, value: ir.Value | None, axes: Sequence[int]) -> Any:
    return op.Unsqueeze(value, op.Constant(value=ir.tensor(list(axes), dtype=ir.DataType.INT64)))


def _axis(node: ir.Node) -> int:
    return node.attributes.get_int("axis", 0)


def _flattened(flat: ir.Value) -> ir.Value | None:
    """What a value of one axis, or of one and single elements, has of two axes."""
    node = flat.producer()
    if node is None or node.domain or len(sizes_of(node.inputs[0]) or ()) != 2:
        return None
    if node.op_type == "Flatten":
        return node.inputs[0] if node.attributes.get_int("axis", 1) == 2 else None
    numbers = array(node.inputs[1]) if node.op_type == "Reshape" else None
    return node.inputs[0] if numbers is not None and numbers.tolist() in ([-1], [-1, 1]) else None


def _axes(places: ir.Value, sizes: Sizes, model: ir.Model) -> tuple[int, int] | None:
    """The axes of rows and columns where places are `column + columns * row`, both counted from 0."""
    rows, columns = sizes
    rank = len(sizes_of(places) or ())
    total = _operands(places, "Add")
    for column, scaled in commuted(*total):
        last = _counted(column, columns, rank)
        for row, by in commuted(*_operands(scaled, "Mul")):
            first = _counted(row, rows, rank)
            if first is not None and last is not None and first < last and _is_number(by, columns, model):
                return first, last
    return None


def _operands(value: ir.Value, operator: str) -> Sequence[ir.Value | None]:
    node = value.producer()
    return node.inputs if node is not None and node.op_type == operator and not node.domain else (None, None)


def _counted(value: ir.Value, size: Size, rank: int) -> int | None:
    """The axis, of so many, along which a value counts from 0 to a size; None where it doesn't, or has others."""
    sizes = sizes_of(value)
    counts = value
    while (node := counts.producer()) is not None and node.op_type == "Unsqueeze":
        assert node.inputs[0] is not None, "it is a graph that ONNX takes"
        counts = node.inputs[0]
    if node is None or node.op_type != "Range" or size in {None, 1} or sizes_of(counts) != (size,) or sizes is None:
        return None
    start, _, step = node.inputs
    if number(start) != 0 or number(step) != 1 or [one for one in sizes if one != 1] != [size]:
        return None
    return rank - len(sizes) + sizes.index(size)


def _is_number(value: ir.Value, size: Size, model: ir.Model) -> bool:
    known = follow_sizes(model).get(value)
    return known == (size,) or (isinstance(size, int) and number(value) == size)


def _added(sizes: Sizes | None, made: Sizes | None) -> list[int] | None:
    """The axes of size 1 that stand between the sizes in others; None where more differs."""
    if sizes is None or made is None or None in (*sizes, *made):
        return None
    left, added = list(sizes), []
    for axis, size in enumerate(made):
        if left and left[0] == size:
            left.pop(0)
        elif size == 1:
            added.append(axis)
        else:
            return None
    return added if added and not left else None


def _patterns(_: object) -> Sequence[Any]:
    return [_Gathered.rule(), _Reshaped.rule()]


RULE = Rule(
    name="gathered-whole",
    group="simplify",
    summary="Takes a value as it is where all of its elements are gathered, in order.",
    patterns=_patterns,
    is_quiet=True,
)
