"""Graphs in float16 or bfloat16, with islands that stay in float32.

Every node that may is computed in the lower type; `keeping.reasons` says of the others why. Casts stand only where the
two meet, one for each value. Branches and loops stay as they are, and get float32.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir
from onnx_ir.passes import common

from onnxwright.errors import RouteError
from onnxwright.graph.adding import Names, held
from onnxwright.graph.guarding import complaint, invalidity, refuse_gaps
from onnxwright.graph.passes import cloned, named
from onnxwright.graph.precision.formats import FLOAT, Format, format_of
from onnxwright.graph.precision.keeping import is_indifferent, reasons
from onnxwright.graph.precision.observing import Ranges
from onnxwright.graph.precision.taking import Places, places
from onnxwright.graph.precision.weighing import lower
from onnxwright.graph.provenance import carry_provenance
from onnxwright.graph.typed import infer_types
from onnxwright.rewrites import Lowered

_MOVING: Final = {"Cast", "Identity", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Concat", "Slice"}
"""Operators that hand on what they are given."""
NOTHING: Final[Mapping[str, str]] = types.MappingProxyType({})
"""No node by name."""


def lowered(
    model: ir.Model,
    dtype: str,
    ranges: Ranges | None,
    *,
    kept: Mapping[str, str] = NOTHING,
    keeps_io: bool = True,
) -> Lowered:
    """Returns a graph that computes in float16 or bfloat16 what it safely can; the weights are converted when written.

    `ranges` are what was seen on samples: without them only what the graph itself shows is foreseen. Nodes in `kept`
    stay in float32, for the reasons given there. With `keeps_io` the inputs and outputs stay float32.

    Raises:
        UsageError: for a type that isn't one of the two.
        SourceError: when the graph uses a value that nothing gives.
        RouteError: when what comes of it isn't valid ONNX.
    """
    format_ = format_of(dtype)
    refuse_gaps(model)
    copy = cloned(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(copy)
    for node in copy.graph:
        node.name = named(node)  # what a node gives may get another name
    infer_types(copy)
    _drop_idle_casts(copy.graph)
    found = reasons(copy, format_, ranges, kept)
    _Lowering(copy, format_, found, keeps_io=keeps_io).run()
    carry_provenance(model, copy)
    _refuse_broken(model, copy, format_, keeps_io=keeps_io)
    return Lowered(copy, {named(node): reason for node, reason in found.items()})


def computes_more_in(model: ir.Model, dtype: str, before: ir.Model) -> bool:
    """Whether a graph computes more values in a type than another one, beside casting to it."""
    known = cloned(before)
    infer_types(known)
    return _computed_in(model, dtype) > _computed_in(known, dtype)


def _computed_in(model: ir.Model, dtype: str) -> int:
    wanted = format_of(dtype).dtype
    return sum(value.dtype == wanted and node.op_type not in _MOVING for node in model.graph for value in node.outputs)


def _drop_idle_casts(graph: ir.Graph) -> None:
    """Drops casts of float32 to float32."""
    for node in [node for node in graph if node.op_type == "Cast" and not node.domain]:
        given, output = node.inputs[0], node.outputs[0]
        is_idle = given is not None and given.dtype == FLOAT == output.dtype
        if given is not None and is_idle and not output.is_graph_output():
            output.replace_all_uses_with(given)
            graph.remove(node, safe=True)


def _refuse_broken(before: ir.Model, after: ir.Model, format_: Format, *, keeps_io: bool) -> None:
    expected = cloned(before)
    if not keeps_io:
        for value in (*expected.graph.inputs, *expected.graph.outputs):
            _retype(value, format_)
    broken = complaint(expected, after)
    if not broken and not keeps_io and not invalidity(before):
        broken = invalidity(after)
    if broken:
        raise RouteError(f"the graph in {format_.name} is not right: {broken} Keep it in float32, and report this.")


def _retype(value: ir.Value, format_: Format) -> None:
    if value.dtype == FLOAT:
        value.type = ir.TensorType(format_.dtype)


@dataclass(frozen=True)
class _Use:
    """Where a value is used: an input of a node, or a place among the outputs of a graph."""

    user: ir.Node | ir.Graph
    place: int

    def take(self, value: ir.Value) -> None:
        """Has it use another value."""
        if isinstance(self.user, ir.Node):
            self.user.replace_input_with(self.place, value)
        else:
            self.user.outputs[self.place] = value


class _Lowering:
    """A graph whose values are taken over into a lower type, one after the other."""

    def __init__(self, model: ir.Model, format_: Format, kept: Mapping[ir.Node, str], *, keeps_io: bool) -> None:
        self._graph, self._format, self._kept, self._keeps_io = model.graph, format_, kept, keeps_io
        self._names = Names.of_values(model)
        self._narrowing = {node for node in model.graph if node not in kept and _narrows(node, format_)}
        self._places = {node: self._places_of(node, model.opset_imports) for node in model.graph}
        self._low = {
            node.outputs[place] for node, found in self._places.items() for place in found.outputs
        } | self._low_inputs()

    def run(self) -> None:
        """Converts everything, and puts casts where the two types meet."""
        floats = [value for value in self._held() if value.dtype == FLOAT]
        uses = {value: self._uses(value) for value in floats}
        for node, found in self._places.items():
            if found.typed_by is not None:
                self._retarget(node, found.typed_by)
        for value in self._low:
            value.type = ir.TensorType(self._format.dtype)
        for value in floats:
            self._settle(value, *uses[value])

    def _places_of(self, node: ir.Node, opsets: Mapping[str, int]) -> Places:
        if node in self._kept or is_indifferent(node) or _widens(node):
            return Places()
        return places(node, opsets, self._format.dtype)

    def _low_inputs(self) -> set[ir.Value]:
        return set() if self._keeps_io else {value for value in self._graph.inputs if value.dtype == FLOAT}

    def _held(self) -> list[ir.Value]:
        """All values of the main graph."""
        inputs, weights = self._graph.inputs, self._graph.initializers.values()
        computed = [value for node in self._graph for value in node.outputs]
        return list(dict.fromkeys((*inputs, *weights, *computed)))

    def _uses(self, value: ir.Value) -> tuple[list[_Use], list[_Use]]:
        """Where a value is used in the lower type, and where in float32; what takes either is left out."""
        low: list[_Use] = []
        wide: list[_Use] = []
        for user, place in value.uses():
            if user not in self._places or user in self._kept:
                wide.append(_Use(user, place))
            elif user in self._narrowing or place in self._places[user].inputs:
                low.append(_Use(user, place))
            elif not is_indifferent(user):
                wide.append(_Use(user, place))
        for place, output in enumerate(self._graph.outputs):
            if output is value:
                (wide if self._keeps_io else low).append(_Use(self._graph, place))
        return low, wide

    def _settle(self, value: ir.Value, low: list[_Use], wide: list[_Use]) -> None:
        """Hands each use the value in the type that it takes."""
        if value.is_initializer() and not value.is_graph_input():
            self._settle_weight(value, low, wide)
        elif _widens(value.producer()):
            self._settle_widened(value, low, wide)
        elif value in self._low:
            self._hand_on(value, value, low)
            if value.is_graph_input() and value.const_value is not None:
                value.const_value = lower(value.const_value, self._format)
            if wide:
                self._hand_on(value, self._cast(value, FLOAT), wide)
        elif low:
            self._hand_on(value, self._narrowed(value, low), low)

    def _settle_weight(self, value: ir.Value, low: list[_Use], wide: list[_Use]) -> None:
        """Converts a weight, or gives the graph a second one where it is used in both types."""
        if not low or value.const_value is None:
            return
        tensor = lower(value.const_value, self._format)
        if not wide:
            value.const_value, value.type = tensor, ir.TensorType(self._format.dtype)
            self._hand_on(value, value, low)
            return
        tensor.name = self._names.free(f"{value.name}_{self._format.name}")
        self._hand_on(value, held(self._graph, tensor), low)

    def _settle_widened(self, value: ir.Value, low: list[_Use], wide: list[_Use]) -> None:
        """Casts what is cast to float32 to the lower type at once, or takes what was there before."""
        cast = value.producer()
        assert cast is not None
        source = cast.inputs[0]
        assert source is not None
        if not low:
            return
        if source.dtype == self._format.dtype and not any(use.user is self._graph for use in low):
            self._hand_on(value, source, low)
        elif wide:
            self._hand_on(value, self._cast(source, self._format.dtype, after=cast), low)
        else:
            self._retarget(cast, "to")
            value.type = ir.TensorType(self._format.dtype)
            self._hand_on(value, value, low)
            return
        if not wide and not value.uses() and not value.is_graph_output():
            self._graph.remove(cast, safe=True)

    def _hand_on(self, value: ir.Value, other: ir.Value, uses: list[_Use]) -> None:
        """Has uses take a value in the type that they want; casts to that type become superfluous."""
        for use in uses:
            if isinstance(use.user, ir.Node) and use.user in self._narrowing:
                self._skip(use.user, other)
            elif isinstance(use.user, ir.Graph) and use.user is self._graph and other is not value:
                self._rename(use, value, other)
            elif other is not value:
                use.take(other)

    def _skip(self, cast: ir.Node, value: ir.Value) -> None:
        """Drops a cast to the lower type of what has it already."""
        output = cast.outputs[0]
        if cast is value.producer():
            return
        output.replace_all_uses_with(value)
        self._graph.remove(cast, safe=True)

    def _rename(self, use: _Use, value: ir.Value, other: ir.Value) -> None:
        """Has the graph answer another value under the same name."""
        assert value.name is not None
        own, value.name = value.name, self._names.free(f"{value.name}_{self._spelled(value.dtype)}")
        use.take(other)
        other.name, other.shape = own, value.shape

    def _narrowed(self, value: ir.Value, low: list[_Use]) -> ir.Value:
        """The value in the lower type: of a cast that is there already, or of a new one."""
        there = next((use.user for use in low if isinstance(use.user, ir.Node) and use.user in self._narrowing), None)
        if there is None:
            return self._cast(value, self._format.dtype)
        self._graph.remove(there)
        self._place(there, value.producer())
        return there.outputs[0]

    def _cast(self, value: ir.Value, dtype: ir.DataType, after: ir.Node | None = None) -> ir.Value:
        name = self._names.free(f"{value.name}_{self._spelled(dtype)}")
        cast = ir.node("Cast", [value], attributes={"to": int(dtype)}, name=f"{name}/cast")
        cast.outputs[0].name, cast.outputs[0].dtype, cast.outputs[0].shape = name, dtype, value.shape
        self._place(cast, after or value.producer())
        return cast.outputs[0]

    def _place(self, cast: ir.Node, after: ir.Node | None) -> None:
        """Puts a cast behind what computes its input, or at the beginning."""
        if after is not None:
            self._graph.insert_after(after, cast)
        elif self._graph.num_nodes():
            self._graph.insert_before(self._graph[0], cast)
        else:
            self._graph.append(cast)

    def _retarget(self, node: ir.Node, attribute: str) -> None:
        """Has a node give the lower type of its own accord."""
        if attribute == "value":
            given = node.attributes.get("value")
            tensor = ir.tensor([0.0], FLOAT) if given is None else given.as_tensor()
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(lower(tensor, self._format).numpy()))
        else:
            node.attributes[attribute] = ir.AttrInt64(attribute, int(self._format.dtype))

    def _spelled(self, dtype: ir.DataType | None) -> str:
        return "float32" if dtype == FLOAT else self._format.name


def _widens(node: ir.Node | None) -> bool:
    """Whether a node casts another type to float32, so that it can as well cast it to the lower one."""
    if node is None or node.op_type != "Cast" or node.domain or node.attributes.get_int("to") != FLOAT:
        return False
    return node.inputs[0] is not None and node.inputs[0].dtype not in {None, FLOAT}


def _narrows(node: ir.Node, format_: Format) -> bool:
    """Whether a node casts float32 to the lower type, and not for an answer that is to have its name."""
    if node.op_type != "Cast" or node.domain or node.attributes.get_int("to") != format_.dtype:
        return False
    if node.outputs[0].is_graph_output():
        return False
    return node.inputs[0] is not None and node.inputs[0].dtype == FLOAT
