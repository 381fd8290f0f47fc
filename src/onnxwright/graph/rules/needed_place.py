"""Computes at one place of an axis what is taken there alone, as of the first token in the last layer of a classifier.

`hidden[:, 0]` takes one token of all those for which the last layer was computed. What computes each place of an axis
by itself (products with weights, norms, activations, and of attention all but keys and values) gives the same at that
place where it is handed no more than that. So the place is gathered earlier, where something needs all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxwright.graph.adding import Names, held
from onnxwright.graph.constants import array
from onnxwright.graph.passes import Log, named
from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.reshapes import spelled
from onnxwright.graph.size_shapes import EACH, PAIRING
from onnxwright.graph.sizes import TO_THE_END, Sizes, sizes_of

_SOFTMAX_OF_ONE_AXIS: Final = 13
"""Before this opset, `Softmax` takes all axes behind its own for one."""
_PRODUCTS: Final = frozenset({"MatMul", "Gemm"})

Asked = Mapping[int, int]
"""Which inputs of a node are needed at one place only, by number, and along which axis."""


@dataclass
class _Region:
    """The nodes that need to compute no more than one place, and the inputs of which nodes need no more."""

    index: int
    nodes: list[ir.Node] = field(default_factory=list)
    asked: dict[tuple[ir.Node, int], int] = field(default_factory=dict)
    takers: list[ir.Node] = field(default_factory=list)

    def axis_of(self, value: ir.Value) -> int | None:
        """The axis along which all that takes a value needs one place of it; None where something needs more."""
        axes = {self.asked.get((user, number)) for user, number in value.uses()}
        return axes.pop() if len(axes) == 1 and not value.is_graph_output() else None

    @property
    def last(self) -> ir.Node | None:
        """The last product in it: without one, nothing is gained."""
        return next((node for node in self.nodes if node.op_type in _PRODUCTS), None)


def _narrow_all(model: ir.Model, log: Log) -> int:
    if model.opset_imports.get("", 1) < _SOFTMAX_OF_ONE_AXIS:
        return 0
    taken = [(node, place) for node in model.graph if (place := _taken(node)) is not None]
    count = 0
    for index in dict.fromkeys(place.number for _, place in taken):
        region = _region(model.graph, {node: place.axis for node, place in taken if place.number == index}, index)
        if region.last is not None:
            log.hit(RULE.name, region.last)
            _narrow(model, region)
            count += 1
    return count


class _Place(NamedTuple):
    """One place of an axis, counted from its beginning or, negative, from its end."""

    number: int
    axis: int


def _taken(node: ir.Node) -> _Place | None:
    """The one place that a node takes of its input; None where it takes another number of them, or it isn't known."""
    rank = len(sizes_of(node.inputs[0]) or ()) if node.inputs else 0
    if not rank or node.domain:
        return None
    if node.op_type == "Gather":
        given = array(node.inputs[1])
        axis = node.attributes.get_int("axis", 0) % rank
        return _Place(int(given.reshape(-1)[0]), axis) if given is not None and given.size == 1 else None
    return _sliced(node, rank) if node.op_type == "Slice" else None


def _sliced(node: ir.Node, rank: int) -> _Place | None:
    """The first place or the last, which are there at any size; a slice of others may be empty."""
    given = [array(value) for value in node.inputs[1:]]
    if len(given) < 3 or any(one is None or one.size != 1 for one in given):
        return None
    start, end, axis, *step = (int(one.reshape(-1)[0]) for one in given if one is not None)
    is_one = (start, end) == (0, 1) or (start == -1 and end >= TO_THE_END)
    return _Place(start, axis % rank) if is_one and step in ([], [1]) else None


def _region(graph: ir.Graph, takers: Mapping[ir.Node, int], index: int) -> _Region:
    region = _Region(index, takers=list(takers))
    region.asked.update({(node, 0): axis for node, axis in takers.items()})
    for node in reversed(graph):
        used = [value for value in node.outputs if value.uses() or value.is_graph_output()]
        axis = region.axis_of(used[0]) if used == [node.outputs[0]] else None
        asked = None if axis is None else _asked(node, axis)
        if asked:
            region.nodes.append(node)
            region.asked.update({(node, number): of for number, of in asked.items()})
    return region


def _asked(node: ir.Node, axis: int) -> Asked | None:
    """What a node needs to answer one place of an axis; None where it needs all places, or that can't be told."""
    sizes = sizes_of(node.outputs[0])
    if node.domain or node.op_type not in _ASKING or sizes is None or sizes[axis] in {1, None}:
        return None
    return _ASKING[node.op_type](node, axis)


def _of_each(_: ir.Node, axis: int) -> Asked | None:
    return {0: axis}


def _of_pairs(node: ir.Node, axis: int) -> Asked | None:
    return _broadcast(node, range(len(node.inputs)), axis)


def _broadcast(node: ir.Node, numbers: Sequence[int], axis: int) -> dict[int, int] | None:
    """The axis of each input that lies at one of the answer; none of those that are the same along it."""
    whole = sizes_of(node.outputs[0]) or ()
    asked: dict[int, int] = {}
    for number in numbers:
        sizes = sizes_of(node.inputs[number])
        if sizes is None:
            return None
        own = axis - len(whole) + len(sizes)
        if own >= 0 and sizes[own] != 1:
            if sizes[own] != whole[axis]:
                return None
            asked[number] = own
    return asked


def _of_product(node: ir.Node, axis: int) -> Asked | None:
    one, other = (sizes_of(value) for value in node.inputs)
    rank = len(sizes_of(node.outputs[0]) or ())
    if one is None or other is None or min(len(one), len(other)) < 2 or axis == rank - 1:
        return None
    return {0: len(one) - 2} if axis == rank - 2 else _broadcast(node, (0, 1), axis)


def _of_gemm(node: ir.Node, axis: int) -> Asked | None:
    if axis != 0 or node.attributes.get_int("transA", 0) != 0:
        return None
    added = _broadcast(node, range(2, len(node.inputs)), axis)
    return None if added is None else {0: 0, **added}


def _of_softmax(node: ir.Node, axis: int) -> Asked | None:
    rank = len(sizes_of(node.outputs[0]) or ())
    return None if node.attributes.get_int("axis", -1) % rank == axis else {0: axis}


def _of_norm(node: ir.Node, axis: int) -> Asked | None:
    rank = len(sizes_of(node.outputs[0]) or ())
    is_flat = all(len(sizes_of(value) or (1, 1)) == 1 for value in node.inputs[1:] if value is not None)
    return {0: axis} if is_flat and axis < node.attributes.get_int("axis", -1) % rank else None


def _of_reduction(node: ir.Node, axis: int) -> Asked | None:
    """Of the axes that are reduced, there is one place in the answer anyway."""
    before, after = sizes_of(node.inputs[0]), sizes_of(node.outputs[0])
    return {0: axis} if before is not None and after is not None and len(before) == len(after) else None


def _of_transpose(node: ir.Node, axis: int) -> Asked | None:
    rank = len(sizes_of(node.outputs[0]) or ())
    return {0: node.attributes.get_ints("perm", range(rank)[::-1])[axis]}


def _of_reshape(node: ir.Node, axis: int) -> Asked | None:
    """Only where it leaves the axis, and all those before it, as they are."""
    before, after = sizes_of(node.inputs[0]) or (), sizes_of(node.outputs[0]) or ()
    kept = after[: axis + 1]
    is_left = None not in kept and before[: axis + 1] == kept
    if not is_left or node.attributes.get_int("allowzero", 0) != 0:
        return None
    return {0: axis} if spelled(_of_one(before, axis), _of_one(after, axis)) is not None else None


def _of_one(sizes: Sizes, axis: int) -> Sizes:
    return (*sizes[:axis], 1, *sizes[axis + 1 :])


_ASKING: Final[Mapping[str, Callable[[ir.Node, int], Asked | None]]] = {
    **dict.fromkeys(EACH, _of_each),
    **dict.fromkeys(PAIRING, _of_pairs),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _of_softmax),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _of_norm),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2"), _of_reduction),
    "MatMul": _of_product,
    "Gemm": _of_gemm,
    "Transpose": _of_transpose,
    "Reshape": _of_reshape,
}


def _narrow(model: ir.Model, region: _Region) -> None:
    names = Names.of_values(model)
    inside = set(region.nodes)
    gathered: dict[tuple[ir.Value, int], ir.Value] = {}
    for (node, number), axis in region.asked.items():
        value = node.inputs[number]
        assert value is not None, "it has sizes"
        if value.producer() in inside or node not in inside:
            continue
        if (value, axis) not in gathered:
            gathered[value, axis] = _gathered(model.graph, value, region.index, axis, names)
        node.replace_input_with(number, gathered[value, axis])
    for node in region.nodes:
        _tell_sizes(model.graph, node, region, names)
    for node in region.takers:
        given = node.inputs[0]
        if given is not None and given.producer() in inside:
            _take_first(model.graph, node, names)
    model.graph.sort()


def _gathered(graph: ir.Graph, value: ir.Value, index: int, axis: int, names: Names) -> ir.Value:
    """One place of a value along an axis, which stays with size 1."""
    name = names.free(f"{value.name}_at_{index}")
    place = _constant(graph, np.array([index], np.int64), f"{name}_place", names)
    node = ir.node("Gather", [value, place], {"axis": axis}, name=name)
    made = node.outputs[0]
    made.name, made.type, made.shape = name, value.type, ir.Shape(_of_one(sizes_of(value) or (), axis))
    graph.append(node)
    return made


def _tell_sizes(graph: ir.Graph, node: ir.Node, region: _Region, names: Names) -> None:
    """Writes that an answer has one place, also where a node is told what to answer."""
    made = node.outputs[0]
    axis = region.axis_of(made)
    assert axis is not None, "it is in the region since all that takes it needs one place"
    sizes = _of_one(sizes_of(made) or (), axis)
    if node.op_type == "Reshape":
        target = spelled(_of_one(sizes_of(node.inputs[0]) or (), axis), sizes)
        assert target is not None, "it was asked before"
        node.replace_input_with(1, _constant(graph, np.array(target, np.int64), f"{made.name}_shape", names))
    made.shape = ir.Shape(sizes)


def _take_first(graph: ir.Graph, node: ir.Node, names: Names) -> None:
    """Has a node take the first place, of a value that has no other."""
    wanted = {1: 0} if node.op_type == "Gather" else {1: 0, 2: 1}
    for number, place in wanted.items():
        given = array(node.inputs[number])
        assert given is not None, "it is known what it takes"
        node.replace_input_with(number, _constant(graph, np.full_like(given, place), f"{named(node)}_place", names))


def _constant(graph: ir.Graph, numbers: np.ndarray[Any, np.dtype[Any]], name: str, names: Names) -> ir.Value:
    return held(graph, ir.tensor(numbers, name=names.free(name)))


RULE = Rule(
    name="needed-place",
    group="simplify",
    summary="Computes at one place of an axis what is taken there alone, as in the last layer of a classifier.",
    change=_narrow_all,
    is_quiet=True,
)
