"""Rotary positions, as one node of ONNX Runtime.

`x * cos + rotate_half(x) * sin` of Hugging Face's Llama and its kin, where `rotate_half` puts the second half of each
head, negated, before the first, becomes `RotaryEmbedding`. That takes each angle once: the two halves of `cos` and of
`sin` must be the same, as `torch.cat((angles, angles), -1)` makes them, and so must the angles of all rows and heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import array, commuted, number
from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.attending import Declined
from onnxwright.graph.rules.products import produced_by, taken_outside
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import CONTRIB, FUSED_TYPES, Operator

_RANK: Final = 4
_MOST_STEPS: Final = 12
_ROW_BY_ROW: Final = ("Cos", "Sin", "Cast", "Identity", "Unsqueeze", "Squeeze", "Mul", "Gather", "Slice", "Expand")
"""What leaves two halves of the last axis equal that are, where that axis stays as long as it is."""


@dataclass(frozen=True)
class _Turned:
    x: ir.Value
    cos: ir.Value
    sin: ir.Value
    nodes: list[ir.Node]

    @property
    def heads(self) -> int:
        return int(str((sizes_of(self.x) or ())[1]))

    @property
    def width(self) -> int:
        return int(str((sizes_of(self.x) or ())[3]))


class _Rotary(RewriteRuleClassBase):
    def pattern(self, op: Any, one: Any, other: Any) -> Any:
        """Matches any sum; `check` looks for the halves."""
        return op.Add(one, other, _outputs=["rotated"])

    def check(self, context: Any, rotated: ir.Value, **_: Any) -> MatchResult:
        """Declines other shapes and types, and angles that differ between halves, heads or rows."""
        result, found = MatchResult(), next(_turned(rotated), None)
        if found is None:
            return result.fail()
        try:
            _hold_to_kind(found, context.root)
        except Declined as declined:
            return result.fail(declined.reason, declined.culprit)
        return result

    def rewrite(self, op: Any, rotated: ir.Value, **_: Any) -> Any:
        """Writes the node between transposes that undo those before and after it."""
        found = next(_turned(rotated))
        beside = _constant(op, [0, 0, found.heads * found.width])
        flat = op.Reshape(op.Transpose(found.x, perm=[0, 2, 1, 3]), beside)
        first = _constant(op, [0])
        angles = [_once(op, value, found.width // 2) for value in (found.cos, found.sin)]
        answer = op.RotaryEmbedding(flat, first, *angles, _domain=CONTRIB)
        return op.Transpose(op.Reshape(answer, _constant(op, [0, 0, found.heads, found.width])), perm=[0, 2, 1, 3])


def _turned(rotated: ir.Value) -> Iterator[_Turned]:
    root = rotated.producer()
    for straight, crossed in commuted(*root.inputs) if root is not None else ():
        one, other = produced_by(straight, "Mul"), produced_by(crossed, "Mul")
        if one is None or other is None:
            continue
        for x, cos in commuted(*one.inputs):
            for half, sin in commuted(*other.inputs):
                nodes = _half_turned(half, x)
                if nodes is not None:
                    yield _Turned(x, cos, sin, [one, other, *nodes])


def _half_turned(value: ir.Value, x: ir.Value) -> list[ir.Node] | None:
    """The nodes that put the second half of `x`, negated, before the first."""
    joined = produced_by(value, "Concat")
    negated = produced_by(joined.inputs[0], "Neg") if joined is not None and len(joined.inputs) == 2 else None
    if joined is None or negated is None or joined.attributes.get_int("axis") not in {-1, _RANK - 1}:
        return None
    halves = _half(negated.inputs[0], x, is_second=True), _half(joined.inputs[1], x, is_second=False)
    return None if None in halves else [joined, negated, *dict.fromkeys(half for half in halves if half is not None)]


def _half(value: ir.Value | None, x: ir.Value, *, is_second: bool) -> ir.Node | None:
    """The node that takes one half of `x` along its last axis."""
    node, width = produced_by(value, "Slice", "Split"), (sizes_of(x) or (None,))[-1]
    if node is None or node.inputs[0] is not x or not isinstance(width, int) or width % 2:
        return None
    if node.op_type == "Split":
        is_last = node.attributes.get_int("axis", 0) in {-1, _RANK - 1}
        is_even = (sizes_of(value) or (None,))[-1] == width // 2
        return node if is_last and is_even and node.outputs[int(is_second)] is value else None
    given = [array(one) for one in node.inputs[1:]]
    if len(given) < 3 or any(one is None or one.size != 1 for one in given):
        return None
    start, end, axis, *step = (int(one.reshape(-1)[0]) for one in given if one is not None)
    half = width // 2
    is_there = (start, min(end, width)) == ((half, width) if is_second else (0, half))
    return node if is_there and axis in {-1, _RANK - 1} and (step or [1]) == [1] else None


def _hold_to_kind(found: _Turned, root: ir.Node) -> None:
    sizes = sizes_of(found.x) or ()
    if len(sizes) != _RANK or not isinstance(sizes[1], int) or sizes[2] is None:
        raise Declined("What is turned isn't known to have heads, positions and a width.", found.x)
    if found.x.dtype not in FUSED_TYPES:
        raise Declined("What is turned isn't known to be float32 or float16.", found.x)
    for value in (found.cos, found.sin):
        shape = sizes_of(value) or ()
        if shape[-2:] != sizes[-2:] or any(size != 1 for size in shape[:-2]):
            raise Declined("The angles aren't known to be the same for all rows and heads.", value)
        if not _has_equal_halves(value):
            raise Declined("The angles of both halves aren't known to be the same.", value)
    taken = taken_outside(found.nodes, root)
    if taken is not None:
        raise Declined("Something else takes a value inside of the pattern.", taken)


def _has_equal_halves(value: ir.Value | None) -> bool:
    """Whether the second half of a value's last axis is known to be the first again."""
    for _ in range(_MOST_STEPS):
        numbers, width = array(value), (sizes_of(value) or (None,))[-1]
        if numbers is not None and numbers.shape:
            first, second = np.split(numbers, 2, axis=-1)
            return bool(np.array_equal(first, second))
        joined = produced_by(value, "Concat")
        if joined is not None:
            return _joins_itself(joined, len(sizes_of(value) or ()))
        node = produced_by(value, *_ROW_BY_ROW)
        if node is None:
            return False
        value = _scaled(node) if node.op_type == "Mul" else node.inputs[0]
        if value is None or width is None or (sizes_of(value) or (None,))[-1] != width:
            return False
    return False


def _joins_itself(joined: ir.Node, rank: int) -> bool:
    is_last = joined.attributes.get_int("axis", 0) in {-1, rank - 1}
    return is_last and len(joined.inputs) == 2 and joined.inputs[0] is joined.inputs[1]


def _scaled(node: ir.Node) -> ir.Value | None:
    """What a product multiplies by a number."""
    return next((value for value, other in commuted(*node.inputs) if number(other) is not None), None)


def _once(op: Any, value: ir.Value, half: int) -> Any:
    """The first half of the angles, one row for each position."""
    first = op.Slice(value, _constant(op, [0]), _constant(op, [half]), _constant(op, [-1]))
    return op.Reshape(first, _constant(op, [-1, half]))


def _constant(op: Any, numbers: list[int]) -> Any:
    return op.Constant(value=ir.tensor(numbers, dtype=ir.DataType.INT64))


RULE = Rule(
    name="rotary",
    group="fusion",
    summary="Makes one node of ONNX Runtime's of rotary positions.",
    patterns=lambda _: [_Rotary.rule()],
    makes=(Operator(CONTRIB, "RotaryEmbedding"),),
)
