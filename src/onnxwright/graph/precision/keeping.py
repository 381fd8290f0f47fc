"""Which nodes have to stay in float32, and why: foreseen from the graph, its constants, and ranges seen on samples."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import onnx_ir as ir

from onnxwright.graph.cutting import bodies
from onnxwright.graph.passes import named
from onnxwright.graph.precision.formats import FLOAT, Format
from onnxwright.graph.precision.inside import inner_largest
from onnxwright.graph.precision.observing import Ranges
from onnxwright.graph.precision.positions import positions
from onnxwright.graph.precision.taking import places, schema_of
from onnxwright.graph.precision.weighing import Extent, constant, extent

MARGIN: Final = 4.0
"""How many times larger than on the samples a number may get before it overflows."""
_MOVING: Final = {
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "GatherElements"),
    *("GatherND", "Expand", "Tile", "Concat", "Split", "Pad", "Neg", "Abs"),
}
"""Operators that hand on the numbers that they are given, or their magnitudes."""
_ADDING: Final = {*_MOVING, "Add", "Sub", "Mul", "Where", "ConstantOfShape", "Max", "Min", "ReduceMax", "ReduceMin"}
"""Operators that give a huge number where they are given one."""
_MASKING: Final = {"Add", "Sub", "Where"}
"""Operators with which a huge constant stands for "not this one": something is added to it."""
_FLOORS: Final = {"Add", "Sub", "Max", "Clip", "Where"}
"""Operators with which a small constant keeps something away from 0."""
_FLOORED: Final = {*_MOVING, "Sqrt", "Reciprocal", "Pow"}
"""What is computed of it before something is divided by it."""
_DIVISORS: Final = {"Div": 1, "Reciprocal": 0, "Log": 0, "BatchNormalization": 4}
"""Operators that make infinity of a 0, by the number of that input."""


def reasons(model: ir.Model, format_: Format, ranges: Ranges | None, asked: Mapping[str, str]) -> dict[ir.Node, str]:
    """Returns the nodes that have float32 values and stay in float32, in order, each with a sentence that says why."""
    foreseen = _Foreseen(model, format_, ranges)
    foreseen.look(asked)
    return {node: foreseen.found[node] for node in model.graph if node in foreseen.found}


def is_indifferent(node: ir.Node) -> bool:
    """Whether a node takes a number in whatever type: it asks for the size only, or casts to a type that isn't ours."""
    if node.domain or node.op_type not in {"Shape", "Size", "Cast"}:
        return False
    return all(value.dtype not in {None, FLOAT} for value in node.outputs)


class _Foreseen:
    """Collects reasons; the first one of a node stays."""

    def __init__(self, model: ir.Model, format_: Format, ranges: Ranges | None) -> None:
        self._model, self._format, self._ranges = model, format_, ranges or Ranges({}, 0)
        self._nodes = [node for node in model.graph if _has_floats(node)]
        self._extents = {
            value: extent(tensor)
            for value in model.graph.initializers.values()
            if (tensor := constant(value)) is not None
        }
        self.found: dict[ir.Node, str] = {}

    def look(self, asked: Mapping[str, str]) -> None:
        """Goes through the nodes once for each kind of reason."""
        for node in self._nodes:
            name = named(node)
            self._keep(node, asked[name] if name in asked else self._refusal(node))
        positional = positions(self._model, self._format, self._ranges)
        for node in self._nodes:
            if not is_indifferent(node):
                self._look_at_constants(node)
                self._keep(node, positional.get(node, ""))
                self._look_inside(node)
        for value in self._computed():
            self._look_at_range(value)

    def _computed(self) -> Iterator[ir.Value]:
        yield from self._model.graph.inputs
        for node in self._nodes:
            yield from node.outputs

    def _keep(self, node: ir.Node | None, reason: str) -> None:
        if node is not None and reason and node.graph is self._model.graph and not is_indifferent(node):
            self.found.setdefault(node, reason)

    def _refusal(self, node: ir.Node) -> str:
        """What stands against a node in a lower type, whatever its numbers are."""
        if any(True for _ in bodies(node)):
            return "holds a subgraph"
        odd = next((value for value in _touched(node) if not isinstance(value.type, ir.TensorType)), None)
        if odd is not None:
            return f"the type of '{odd.name}' isn't known" if odd.type is None else "handles sequences"
        if is_indifferent(node):
            return ""
        if schema_of(node, self._model.opset_imports) is None:
            return f"the operator {node.domain or 'ai.onnx'}::{node.op_type} is none of ONNX"
        if not places(node, self._model.opset_imports, self._format.dtype):
            return f"the operator takes no {self._format.name}"
        return ""

    def _look_at_constants(self, node: ir.Node) -> None:
        for place, value in enumerate(node.inputs):
            if value in self._extents:
                self._weigh(node, value, self._extents[value], is_divisor=_DIVISORS.get(node.op_type) == place)
        for name, number in self._numbers(node):
            self._weigh(node, name, Extent(number, number))

    def _numbers(self, node: ir.Node) -> Iterator[tuple[str, float]]:
        """The numbers that a node has as attributes; where it computes in float32 by contract, none."""
        schema = schema_of(node, self._model.opset_imports)
        if schema is not None and "stash_type" in schema.attributes and node.attributes.get_int("stash_type", 1) == 1:
            return
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.FLOAT:
                yield f"{name} {attribute.as_float():.6g}", abs(attribute.as_float())
            elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == FLOAT:
                largest = extent(attribute.as_tensor()).largest
                yield f"{name} {largest:.6g}", largest

    def _weigh(self, node: ir.Node, what: ir.Value | str, seen: Extent, *, is_divisor: bool = False) -> None:
        """Keeps a node for one of its constants, and what its result is handed to where that matters."""
        if not seen.largest:
            return
        told = f"'{what}'" if isinstance(what, str) else _spelled(what, seen)
        kind = self._format
        if seen.largest > kind.largest and not kind.is_as_wide:
            self._keep(node, f"its {told} is beyond {kind.name}, which ends at {kind.largest:g}")
            if not self._is_scaling(node):
                self._hand_on_huge(node)
        elif node.op_type in _MASKING and MARGIN * seen.largest > kind.largest and not kind.is_as_wide:
            self._keep(node, f"its {told} leaves no room, {kind.name} ends at {kind.largest:g}")
            self._hand_on_huge(node)
        elif seen.largest < kind.least_normal or (is_divisor and seen.least < kind.least_normal):
            least = seen.least if is_divisor else seen.largest
            becomes = "becomes 0" if least < kind.least else "keeps few of its digits"
            self._keep(node, f"its {told} {becomes} in {kind.name}")
            if node.op_type in _FLOORS:
                self._hand_on_floor(node)

    def _is_scaling(self, node: ir.Node) -> bool:
        """Whether a product was seen with numbers that aren't zero and fit: it is no mask that was off by chance."""
        seen = self._ranges.of(node.outputs[0])
        return node.op_type == "Mul" and seen is not None and 0 < MARGIN * seen.largest < self._format.largest

    def _hand_on_huge(self, node: ir.Node) -> None:
        """Keeps what may be handed a huge number, until it is made a small one."""
        if node.op_type in _ADDING:
            self._hand_on(node, _ADDING, "takes '{}', which is huge where a mask is")

    def _hand_on_floor(self, node: ir.Node) -> None:
        """Keeps what is computed of a number that a small constant keeps away from 0, up to a division by it."""
        self._hand_on(node, _FLOORED, "takes '{}', which only a small constant keeps away from 0")

    def _hand_on(self, node: ir.Node, through: Collection[str], told: str) -> None:
        """Keeps what takes the answer of a node, and the answers of those of it that are among some operators."""
        waiting = [node]
        while waiting:
            for value, user in _users(waiting.pop()):
                if user not in self.found:
                    self._keep(user, told.format(value.name))
                    waiting += [user] if user.op_type in through else []

    def _look_inside(self, node: ir.Node) -> None:
        largest = inner_largest(node, self._ranges)
        if not self._format.is_as_wide and MARGIN * largest > self._format.largest:
            told = f"adds up to {largest:.6g} inside on the samples, {self._format.name} ends at"
            self._keep(node, f"overflows: {told} {self._format.largest:g}")

    def _look_at_range(self, value: ir.Value) -> None:
        seen = self._ranges.of(value)
        if seen is None or value.dtype != FLOAT or self._format.is_as_wide:
            return
        kind, giver = self._format, value.producer()
        if MARGIN * seen.largest > kind.largest:
            reason = f"overflows: reaches {seen.largest:.6g} on the samples, {kind.name} ends at {kind.largest:g}"
            self._keep_around(value, giver, reason, f"takes '{value.name}', which {reason}")
        elif 0 < seen.largest < kind.least_normal:
            reason = f"underflows: reaches only {seen.largest:.3g} on the samples, {kind.name} has all its digits from"
            reason = f"{reason} {kind.least_normal:.3g}"
            self._keep_around(value, giver, reason, f"takes '{value.name}', which {reason}")
        elif seen.least < kind.least and _is_divisor(value):
            reason = f"something is divided by it, and its {seen.least:.3g} on the samples becomes 0 in {kind.name}"
            self._keep(giver, reason)
            for user, place in value.uses():
                if _DIVISORS.get(user.op_type) == place:
                    self._keep(user, f"divides by '{value.name}', whose {seen.least:.3g} becomes 0 in {kind.name}")

    def _keep_around(self, value: ir.Value, giver: ir.Node | None, reason: str, taken: str) -> None:
        self._keep(giver, reason)
        for user, _ in value.uses():
            self._keep(user, taken)


def _has_floats(node: ir.Node) -> bool:
    """Whether a node takes or gives float32, or something of which that isn't known."""
    return bool(list(bodies(node))) or any(
        value.dtype == FLOAT or not isinstance(value.type, ir.TensorType) for value in _touched(node)
    )


def _touched(node: ir.Node) -> Iterator[ir.Value]:
    """What a node takes, and what it gives that is used."""
    yield from (value for value in node.inputs if value is not None and value.name)
    yield from (value for value in node.outputs if value.uses() or value.is_graph_output())


def _users(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Node]]:
    for value in node.outputs:
        if value.dtype == FLOAT:
            yield from ((value, user) for user, _ in value.uses())


def _is_divisor(value: ir.Value) -> bool:
    return any(_DIVISORS.get(user.op_type) == place for user, place in value.uses())


def _spelled(value: ir.Value, seen: Extent) -> str:
    """A constant in words: its number, or its name and how far it goes."""
    tensor = value.const_value
    if tensor is not None and tensor.size == 1:
        return f"constant {float(tensor.numpy().reshape(-1)[0]):.6g}"
    return f"constant '{value.name}', up to {seen.largest:.6g},"
