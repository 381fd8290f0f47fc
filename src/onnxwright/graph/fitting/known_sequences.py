"""Resolves sequences of tensors whose elements are known: TensorRT has none.

Lists in Python become sequences where an exporter keeps them: `torch.split` into `SplitToSequence`, `unbind`, a list
that is appended to and then stacked into `SequenceInsert` and `ConcatFromSequence`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxwright.graph.fitting import Fit


class _Resolving:
    """What is found of the sequences of a graph; nodes that are made stand where the tensors are asked for."""

    def __init__(self) -> None:
        self.made = 0

    def elements(self, value: ir.Value | None, before: ir.Node) -> list[ir.Value] | None:
        """Returns the tensors of a sequence, in order; None where they aren't known."""
        giver = None if value is None else value.producer()
        if giver is None or giver.domain or any(one is None for one in giver.inputs):
            return None
        find = _GIVERS.get(giver.op_type)
        return None if find is None else find(self, giver, before)

    def add(self, before: ir.Node, operator: str, inputs: Sequence[ir.Value], **attributes: Any) -> ir.Value:
        """Puts a node before another, and returns what it answers."""
        graph = before.graph
        assert graph is not None, "a node of a graph"
        node = ir.node(operator, inputs, attributes)
        node.outputs[0].name = f"{before.outputs[0].name}_element_{self.made}"
        self.made += 1
        graph.insert_before(before, node)
        return node.outputs[0]

    def numbers(self, before: ir.Node, numbers: list[int]) -> ir.Value:
        """Puts a constant before a node."""
        return self.add(before, "Constant", [], value=ir.tensor(numbers, dtype=ir.DataType.INT64))

    def split(self, node: ir.Node, before: ir.Node) -> list[ir.Value] | None:
        """The parts of a tensor whose size along the axis is known."""
        value = node.inputs[0]
        shape = None if value is None else value.shape
        axis = node.attributes.get_int("axis", 0)
        size = None if shape is None else shape[axis]
        sizes = _sizes(node, size if isinstance(size, int) else None)
        if value is None or sizes is None:
            return None
        is_dropped = len(node.inputs) < 2 and not node.attributes.get_int("keepdims", 1)
        axes, start, parts = self.numbers(before, [axis]), 0, []
        for one in sizes:
            ends = [self.numbers(before, [end]) for end in (start, start + one)]
            part = self.add(before, "Slice", [value, *ends, axes])
            parts.append(self.add(before, "Squeeze", [part, axes]) if is_dropped else part)
            start += one
        return parts

    def inserted(self, node: ir.Node, before: ir.Node) -> list[ir.Value] | None:
        """A sequence with one more tensor, at its end unless told."""
        earlier = self.elements(node.inputs[0], before)
        place = _number(node.inputs[2]) if len(node.inputs) > 2 else None
        if earlier is None or (len(node.inputs) > 2 and place is None) or node.inputs[1] is None:
            return None
        at = len(earlier) if place is None else place % len(earlier) if place < 0 else place
        return [*earlier[:at], node.inputs[1], *earlier[at:]]

    def erased(self, node: ir.Node, before: ir.Node) -> list[ir.Value] | None:
        """A sequence with one tensor less, that at its end unless told."""
        earlier = self.elements(node.inputs[0], before)
        place = _number(node.inputs[1]) if len(node.inputs) > 1 else -1
        if not earlier or place is None:
            return None
        at = place % len(earlier)
        return [*earlier[:at], *earlier[at + 1 :]]


_Find = Callable[[_Resolving, ir.Node, ir.Node], list[ir.Value] | None]
_GIVERS: Final[dict[str, _Find]] = {
    "SequenceConstruct": lambda _, node, __: [value for value in node.inputs if value is not None],
    "SequenceEmpty": lambda _, __, ___: [],
    "SequenceInsert": _Resolving.inserted,
    "SequenceErase": _Resolving.erased,
    "SplitToSequence": _Resolving.split,
    "Identity": lambda resolving, node, before: resolving.elements(node.inputs[0], before),
}


def _resolve(model: ir.Model) -> int:
    count = 0
    for node in [one for one in model.graph.all_nodes() if one.op_type in _TAKERS and not one.domain]:
        resolving = _Resolving()
        elements = resolving.elements(node.inputs[0], node)
        found = None if elements is None else _TAKERS[node.op_type](resolving, node, elements)
        if found is not None:
            kept = resolving.add(node, "Identity", [found])
            kept.name, node.outputs[0].name = node.outputs[0].name, f"{node.outputs[0].name}_of_a_sequence"
            ir.convenience.replace_all_uses_with(node.outputs[0], kept, replace_graph_outputs=True)
            count += 1
    if count:
        RemoveUnusedNodesPass()(model)
    return count


def _at(_: _Resolving, node: ir.Node, elements: list[ir.Value]) -> ir.Value | None:
    place = _number(node.inputs[1])
    return None if place is None or not -len(elements) <= place < len(elements) else elements[place]


def _joined(resolving: _Resolving, node: ir.Node, elements: list[ir.Value]) -> ir.Value | None:
    axis = node.attributes.get_int("axis", 0)
    if not elements:
        return None
    if node.attributes.get_int("new_axis", 0):
        axes = resolving.numbers(node, [axis])
        elements = [resolving.add(node, "Unsqueeze", [one, axes]) for one in elements]
    return resolving.add(node, "Concat", elements, axis=axis)


def _length(resolving: _Resolving, node: ir.Node, elements: list[ir.Value]) -> ir.Value:
    return resolving.add(node, "Constant", [], value=ir.tensor(len(elements), dtype=ir.DataType.INT64))


_TAKERS: Final = {"SequenceAt": _at, "ConcatFromSequence": _joined, "SequenceLength": _length}


def _sizes(node: ir.Node, whole: int | None) -> list[int] | None:
    """The sizes of the parts: those that are given, or of a known whole one each, or equal ones and a rest."""
    given = node.inputs[1] if len(node.inputs) > 1 else None
    tensor = None if given is None or given.is_graph_input() else ir.convenience.get_const_tensor(given)
    if tensor is not None and tensor.shape.rank():
        return [int(one) for one in tensor.numpy()]
    if whole is None or (given is not None and tensor is None):
        return None
    each = 1 if tensor is None else int(tensor.numpy())
    return [min(each, whole - start) for start in range(0, whole, each)]


def _number(value: ir.Value | None) -> int | None:
    tensor = None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)
    return None if tensor is None or tensor.size != 1 else int(tensor.numpy().ravel()[0])


FIT = Fit(
    name="known_sequences",
    summary="Resolves sequences of tensors whose elements are known.",
    change=_resolve,
    operators=frozenset({*_TAKERS, *_GIVERS} - {"Identity"}),
)
