"""Attention as a graph writes it: `Softmax(query @ key.T * scale + mask) @ value`, in any of its spellings.

The scale may stand at the product, or its root at the query and the key; masks may be added one after the other, or
chosen by `Where`. In float16, scores may be masked and normalized in float32 on the way. `found_attention` says what is
attended to, or why it is none that one operator could stand for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from onnxwright.graph.constants import commuted, number
from onnxwright.graph.rules.products import nodes_between, produced_by, taken_outside, uncast
from onnxwright.graph.sizes import ONE_SIZE_OPSET, Size, Sizes, sizes_of
from onnxwright.graph.targets import FUSED_TYPES

_MASKING: Final = -1e4
"""A number that is added to mask is at most this."""
_RANK: Final = 4


class Declined(Exception):  # noqa: N818 - it says that a rule doesn't apply, not that something is wrong
    """Why what looks like attention can't become one operator, and what is to blame."""

    def __init__(self, reason: str, culprit: ir.Node | ir.Value | None):
        super().__init__(reason)
        self.reason, self.culprit = reason, culprit


@dataclass(frozen=True)
class Mask:
    """What is added to the scores; where it is a choice, `fill` is put in their place where that is `hidden_by`."""

    value: ir.Value
    fill: float | None = None
    hidden_by: bool = False


@dataclass
class Attention:
    """What is attended to: query and value as `[batch, heads, length, width]`, the key with its last axes swapped."""

    query: ir.Value
    key: ir.Value
    value: ir.Value
    scale: float
    masks: list[Mask] = field(default_factory=list)

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return int(str((sizes_of(self.query) or (0, 0))[1]))

    @property
    def width(self) -> int:
        """How wide a head of the value is."""
        return int(str((sizes_of(self.value) or (0,))[-1]))


def found_attention(attended: ir.Value) -> Attention | None:
    """Returns the attention whose answer a value is; None where the value is something else.

    Raises:
        Declined: when it is attention of a kind that no operator has.
    """
    root = attended.producer()
    softmax = None if root is None else _softmax(root.inputs[0])
    if root is None or softmax is None or root.inputs[1] is None:
        return None
    masks: list[Mask] = []
    product, scale = _scores(softmax.inputs[0], masks)
    query, by_query = _scaled(product.inputs[0])
    key, by_key = _scaled(product.inputs[1])
    found = Attention(query, key, root.inputs[1], scale * by_query * by_key, masks)
    _hold_to_kind(found)
    given = {found.query, found.key, found.value, *(mask.value for mask in masks)}
    taken = taken_outside(nodes_between(attended, given), root)
    if taken is not None:
        raise Declined("Something else takes a value inside of the pattern.", taken)
    return found


def _softmax(value: ir.Value | None) -> ir.Node | None:
    """The softmax over the last axis that gives a value."""
    value = uncast(value)
    guard = produced_by(value, "Where")
    if guard is not None and produced_by(guard.inputs[0], "IsNaN") is not None:
        if produced_by(guard.inputs[2], "Softmax") is not None:
            raise Declined("A guard against rows that are masked whole stands around the softmax.", guard)
        return None
    node = produced_by(value, "Softmax")
    rank = len(sizes_of(value) or ()) if value is not None else 0
    return node if node is not None and node.attributes.get_int("axis", -1) in {-1, rank - 1} else None


def _scores(value: ir.Value | None, masks: list[Mask]) -> tuple[ir.Node, float]:
    """The product of query and key, and the number that it is multiplied by; collects what is added to it."""
    scale = 1.0
    while (value := uncast(value)) is not None:
        product = produced_by(value, "MatMul")
        if product is not None:
            return product, scale
        inner, factor, mask = _step(value)
        if mask is not None and scale != 1.0:
            raise Declined("The scores are scaled after they are masked.", value)
        scale *= factor
        masks += [mask] if mask is not None else []
        value = inner
    raise Declined("The scores come from no product.", value)


def _step(value: ir.Value) -> tuple[ir.Value, float, Mask | None]:
    """What stands before one node of the scores: a number or a mask."""
    node = produced_by(value, "Mul", "Div", "Add", "Where")
    if node is None:
        raise Declined("The scores come from no product, scaled or masked.", value)
    if node.op_type in {"Mul", "Div"}:
        return _times(node)
    if node.op_type == "Add":
        sides = [(one, other) for one, other in commuted(*node.inputs) if _leads_to_product(one)]
        if not sides:
            raise Declined("The scores come from no product.", node)
        return sides[0][0], 1.0, Mask(sides[0][1])
    asked = node.inputs[0]
    for hidden_by, (kept, other) in zip((False, True), commuted(*node.inputs[1:]), strict=True):
        fill = number(other)
        if asked is not None and fill is not None and fill <= _MASKING:
            return kept, 1.0, Mask(asked, fill, hidden_by)
    raise Declined("Scores are replaced by others, not masked.", node)


def _times(node: ir.Node) -> tuple[ir.Value, float, None]:
    pairs = commuted(*node.inputs) if node.op_type == "Mul" else iter([(node.inputs[0], node.inputs[1])])
    for value, other in pairs:
        factor = number(other)
        if value is not None and factor:
            return value, factor if node.op_type == "Mul" else 1.0 / factor, None
    raise Declined("The scores are scaled by something that isn't a constant.", node)


def _leads_to_product(value: ir.Value | None, depth: int = _RANK) -> bool:
    """Whether a value is a product of matrices, scaled or masked."""
    node = produced_by(uncast(value), "MatMul", "Mul", "Div", "Add", "Where")
    if node is None or node.op_type == "MatMul":
        return node is not None
    sides = {"Where": node.inputs[1:], "Div": node.inputs[:1]}.get(node.op_type, node.inputs)
    return depth > 0 and any(_leads_to_product(side, depth - 1) for side in sides)


def _scaled(value: ir.Value | None) -> tuple[ir.Value, float]:
    """A query or a key without the number that it is multiplied by, unless something else takes it with that."""
    scale = 1.0
    node = _scaling(value)
    while node is not None:
        value, factor, _ = _times(node)
        scale *= factor
        node = _scaling(value)
    if value is None:
        raise Declined("The product lacks a factor.", None)
    return value, scale


def _scaling(value: ir.Value | None) -> ir.Node | None:
    """What multiplies a value by a number, for one node alone."""
    node = produced_by(value, "Mul", "Div")
    if node is None or value is None or len(value.uses()) > 1 or value.is_graph_output():
        return None
    numbers = node.inputs[1 if node.op_type == "Div" else 0 :]
    return node if any(number(one) is not None for one in numbers) else None


def _hold_to_kind(found: Attention) -> None:
    """Declines other ranks and types, and numbers of heads and widths that aren't known or differ."""
    for name in ("query", "key", "value"):
        value: ir.Value = getattr(found, name)
        sizes = sizes_of(value)
        if sizes is None or len(sizes) != _RANK:
            raise Declined(f"The {name} isn't known to have four axes.", value)
        if value.dtype not in FUSED_TYPES:
            raise Declined(f"The {name} isn't known to be float32 or float16.", value)
        if not isinstance(sizes[1], int) or not isinstance(sizes[2 if name == "key" else 3], int):
            raise Declined(f"The heads of the {name}, or how wide they are, aren't known.", value)
        if value.dtype != found.query.dtype:
            raise Declined(f"The {name} is of another type than the query.", value)
    heads = {(sizes_of(value) or (0, 0))[1] for value in (found.query, found.key, found.value)}
    if len(heads) > 1:
        raise Declined("Query, key and value differ in their heads.", found.key)


def fitted_mask(op: Any, found: Attention, query: tuple[Any, int], key: tuple[Any, int]) -> Any:
    """Writes what is added to the scores as one value of four axes; None where nothing is.

    `query` and `key` are values with the axis of each that has its length.
    """
    total = None
    for mask in found.masks:
        value = _in_type(op, mask.value, found.query) if mask.fill is None else _chosen(op, mask, found.query)
        value = _with_four_axes(op, value, len(sizes_of(mask.value) or ()))
        total = value if total is None else op.Add(total, value)
    if total is None or not _is_short(found):
        return total
    lengths = [op.Shape(value, start=axis, end=axis + 1) for value, axis in (query, key)]
    ones = op.Constant(value=ir.tensor([1, 1], dtype=ir.DataType.INT64))
    return op.Expand(total, op.Concat(ones, *lengths, axis=0))


def hold_masks(found: Attention, opset: int) -> None:
    """Declines masks of which isn't known that they have a row for each query and a column for each key.

    Raises:
        Declined: with the mask that is to blame.
    """
    query, key = sizes_of(found.query) or (), sizes_of(found.key) or ()
    full: Sizes = (query[0], query[1], query[2], key[3])
    for mask in found.masks:
        sizes = sizes_of(mask.value)
        if sizes is None or len(sizes) > _RANK:
            raise Declined("The sizes of the mask aren't known.", mask.value)
        for size, whole in zip(sizes[::-1], full[::-1], strict=False):
            if size != 1 and not _is_equal(size, whole):
                raise Declined(f"The mask has a size {size} where the scores have {whole}.", mask.value)
    if _is_short(found) and opset < ONE_SIZE_OPSET:
        raise Declined(
            "The mask is one row for all queries, and this opset can't ask for one size.", found.masks[0].value
        )


def _is_equal(one: Size, other: Size) -> bool:
    return one is not None and one == other


def _is_short(found: Attention) -> bool:
    """Whether no mask has a row for each query, or none a column for each key."""
    query, key = sizes_of(found.query) or (), sizes_of(found.key) or ()
    shapes = [(1,) * _RANK + (sizes_of(mask.value) or ()) for mask in found.masks]
    whole = [any(_is_equal(shape[axis], size) for shape in shapes) for axis, size in ((-2, query[2]), (-1, key[3]))]
    return bool(found.masks) and not all(whole)


def _chosen(op: Any, mask: Mask, query: ir.Value) -> Any:
    lowest, filled = _lowest(query), mask.fill or 0.0
    numbers = np.array([0.0, filled if np.isinf(filled) else max(filled, lowest)], lowest.dtype)
    zero, fill = (op.Constant(value=ir.tensor(one)) for one in numbers)
    return op.Where(mask.value, fill, zero) if mask.hidden_by else op.Where(mask.value, zero, fill)


def _in_type(op: Any, mask: ir.Value, query: ir.Value) -> Any:
    """What is added, in the type of the query; what float32 masks by lies below all numbers of float16.

    The lowest of these doesn't hide scores from each other where it is added to a whole row: that is for proofs to see.
    """
    if mask.dtype in {None, query.dtype}:
        return mask
    lowest = op.Constant(value=ir.tensor(_lowest(query).astype(np.float32)))
    return op.Cast(op.Max(mask, lowest), to=int(query.dtype or ir.DataType.FLOAT))


def _lowest(query: ir.Value) -> np.floating[Any]:
    """The lowest number of the query's type."""
    assert query.dtype is not None, "it has been checked"
    lowest: np.floating[Any] = np.finfo(query.dtype.numpy()).min
    return lowest


def _with_four_axes(op: Any, value: Any, rank: int) -> Any:
    if rank == _RANK:
        return value
    axes = op.Constant(value=ir.tensor(list(range(_RANK - rank)), dtype=ir.DataType.INT64))
    return op.Unsqueeze(value, axes)
