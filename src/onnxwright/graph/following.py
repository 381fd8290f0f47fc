"""Sizes followed through a graph, so that rules can tell which are equal.

ONNX's own inference gives a size a new name where shapes are computed, and where it can't tell which of two is 1. Here
the elements of small whole-number tensors are followed, too, and what a run that succeeds proves is used: of `S` and
the lesser of `k` and `S`, added, only `S` can come.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from onnxwright.graph.passes import Log, Pass
from onnxwright.graph.size_elements import ELEMENTS, MOST_ELEMENTS
from onnxwright.graph.size_shapes import SHAPES, TYPED_BY_FIRST, parts
from onnxwright.graph.sizes import Sizes, sizes_of

_LISTING: Final = frozenset(
    (
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SplitToSequence",
        "SequenceMap",
        "Optional",
    )
)
"""Operators that give no tensor; `onnx_ir` takes what inference says of the tensors in it for the type of all."""


def infer_sizes(model: ir.Model) -> int:
    """Writes the sizes that can be told into the values' shapes, and returns of how many values more is known now."""
    before = {value: sizes_of(value) for node in model.graph for value in node.outputs if not value.is_graph_output()}
    listed = {
        value: (value.type, value.shape) for node in model.graph if node.op_type in _LISTING for value in node.outputs
    }
    ShapeInferencePass()(model)
    for value, (kind, shape) in listed.items():
        value.type, value.shape = kind, shape
    follow_sizes(model)
    return sum(sizes_of(value) != sizes for value, sizes in before.items())


def follow_sizes(model: ir.Model) -> Mapping[ir.Value, Sizes]:
    """Follows sizes by the shapes at hand, and returns the elements of small whole-number tensors, as far as known."""
    known = _Known({size for value in model.graph.inputs for size in sizes_of(value) or () if isinstance(size, str)})
    for node in model.graph:
        known.follow(node)
    return known.found


def _run(model: ir.Model, _: Log) -> int:
    return infer_sizes(model)


SIZES: Final = Pass("sizes", "Follows sizes through the graph, by name where they have no number.", _run)


class _Known:
    """What is known so far: the elements of small whole-number tensors, and how the inputs' sizes are called."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self.found: dict[ir.Value, Sizes] = {}

    def elements(self, value: ir.Value | None) -> Sizes | None:
        """The elements of a tensor of rank 0 or 1, in order."""
        if value is None:
            return None
        if value not in self.found:
            tensor = ir.convenience.get_const_tensor(value)
            is_small = tensor is not None and tensor.dtype.is_integer() and tensor.size <= MOST_ELEMENTS
            if tensor is None or not is_small or len(tensor.shape) > 1:
                return None
            self.found[value] = tuple(int(element) for element in tensor.numpy().reshape(-1))
        return self.found[value]

    def follow(self, node: ir.Node) -> None:
        """Notes of what a node gives what can be told of it."""
        if not node.outputs:
            return
        name = f"{node.domain}::{node.op_type}".removeprefix("::")
        elements = ELEMENTS[name](node, self.elements) if name in ELEMENTS else None
        if elements is not None and len(elements) <= MOST_ELEMENTS and _is_row(node.outputs[0]):
            self.found[node.outputs[0]] = elements
        if name in TYPED_BY_FIRST:
            _type_as(node.outputs[0], node.inputs[0])
        for value, sizes in zip(node.outputs, self._shapes(node, name), strict=False):
            if sizes is not None:
                self._write(value, sizes)

    def _shapes(self, node: ir.Node, name: str) -> Sequence[Sizes | None]:
        """The sizes of all outputs of a `Split`, or of the first output of another node."""
        if name == "Split":
            return parts(node, self.elements)
        return [SHAPES[name](node, self.elements)] if name in SHAPES else []

    def _write(self, value: ir.Value, sizes: Sizes) -> None:
        """Puts sizes into a value's shape, but for numbers and for names of the inputs, which stay."""
        had = sizes_of(value) or (None,) * len(sizes)
        if value.dtype is not None and len(had) == len(sizes):
            pairs = zip(had, sizes, strict=True)
            is_kept = [isinstance(old, int) or old in self._names for old in had]
            chosen = [old if kept or new is None else new for kept, (old, new) in zip(is_kept, pairs, strict=True)]
            value.shape = ir.Shape(chosen)


def _type_as(value: ir.Value, other: ir.Value | None) -> None:
    if value.dtype is None and other is not None and other.dtype is not None:
        value.dtype = other.dtype


def _is_row(value: ir.Value) -> bool:
    sizes = sizes_of(value)
    return sizes is not None and len(sizes) <= 1
