"""Graphs whose products are computed in int8: with scales that are fixed, or measured at each call.

`QuantizeLinear` and `DequantizeLinear` stand around what is quantized (QDQ), and engines compute in whole numbers what
lies between them. Weights are int8 with one scale for each place that comes out, and without zero points.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from onnxwright.errors import RouteError
from onnxwright.files import AS_WRITTEN
from onnxwright.graph.adding import Names, held, values_of
from onnxwright.graph.guarding import complaint, refuse_gaps
from onnxwright.graph.passes import cloned, named
from onnxwright.graph.precision.choosing import Setting, WeightsAlone
from onnxwright.graph.precision.formats import FLOAT
from onnxwright.graph.precision.products import Product, products
from onnxwright.graph.precision.scales import quantized
from onnxwright.graph.provenance import carry_provenance
from onnxwright.graph.surfacing import graph_of
from onnxwright.graph.typed import infer_types
from onnxwright.graph.versions import convert_opset

Array = np.ndarray[Any, np.dtype[Any]]

OPSET: Final = 13
"""Since this version scales may differ by channel."""
Chosen = Setting | WeightsAlone | None
"""How what goes into a product is rounded; None where each call measures that."""

SWITCH: Final = "/in int8"
"""How an input is called that switches a product to int8, after the node's name."""


def prepared(model: ir.Model) -> ir.Model:
    """Returns a copy in which products can be found and replaced: at opset 13 or later, every node named, types known.

    Raises:
        SourceError: when the graph uses a value that nothing gives.
        RouteError: when it can't be brought to that opset, or a product has weights that no scale holds.
    """
    refuse_gaps(model)
    copy = cloned(model)
    if copy.opset_imports.get("", OPSET) < OPSET:
        convert_opset(copy, OPSET)
    _name_apart(copy)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(copy)
    common.LiftSubgraphInitializersToMainGraphPass()(copy)
    names = Names()
    for node in copy.graph.all_nodes():
        node.name = names.free(named(node))
    infer_types(copy)
    copy.metadata_props.pop(AS_WRITTEN, None)  # engines are to compute in whole numbers
    _refuse_endless(products(copy))
    return copy


def _name_apart(model: ir.Model) -> None:
    """Gives values of branches and loops names that none outside of them has."""
    names = Names(str(value.name) for value in values_of(model.graph))
    for graph in model.graphs():
        for value in values_of(graph) if graph is not model.graph else ():
            value.name = names.free(str(value.name))


def _refuse_endless(wanted: Sequence[Product]) -> None:
    for one in wanted:
        tensor = one.weight.const_value
        if tensor is not None and not np.isfinite(tensor.numpy()).all():
            raise RouteError(
                f"weight '{one.weight.name}' holds NaN or infinity, and no scale holds these. Mend it, or keep float32."
            )


def with_fixed_scales(
    model: ir.Model, settings: Mapping[str, Setting], *, kept: Collection[str] = (), is_by_column: bool = True
) -> ir.Model:
    """Returns a `prepared` graph whose products are computed in int8, with fixed scales for what goes in.

    `settings` are by the name of the value; products in `kept` stay as they are. Weights have one scale for each
    place that comes out, or one for all, with which some engines' kernels are faster.

    Raises:
        RouteError: when what comes of it isn't valid ONNX.
    """
    copy = cloned(model)
    writer = _Writer(copy, is_by_column=is_by_column)
    for one in _chosen(copy, settings, kept):
        setting = settings[str(one.activation.name)]
        rounded, weight = writer.rounded(one, setting), writer.weight(one, setting.balance)
        one.node.replace_input_with(0, rounded)
        one.node.replace_input_with(1, weight)
    return _checked(model, copy)


def with_measured_scales(model: ir.Model, *, kept: Collection[str] = ()) -> ir.Model:
    """Returns a `prepared` graph whose matrix products are computed in int8, with a scale measured at each call.

    One scale serves for the whole activation, so that the answer for one row depends on the others.

    Raises:
        RouteError: when what comes of it isn't valid ONNX.
    """
    copy = cloned(model)
    writer = _Writer(copy)
    for one in products(copy):
        if one.name not in kept and is_measurable(one):
            writer.replace_by_measured(one)
    return _checked(model, copy)


def is_measurable(one: Product) -> bool:
    """Whether there is an operator of whole numbers for a product: for those of matrices."""
    factors = (one.node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    return one.node.op_type == "MatMul" or (one.node.op_type == "Gemm" and all(factor == 1.0 for factor in factors))


def with_switches(model: ir.Model, settings: Mapping[str, Chosen]) -> ir.Model:
    """Returns a `prepared` graph in which an input for each product says whether that is computed in int8.

    The input of the product `n` is `n/in int8`, a bool. So one session tells what each product costs in accuracy.
    What has no setting is given a scale that is measured at each call; of some products the weights alone are in int8.
    """
    copy = cloned(model)
    writer = _Writer(copy)
    for one in _chosen(copy, settings, ()):
        writer.switch(one, settings[str(one.activation.name)])
    common.RemoveUnusedNodesPass()(copy)
    return copy


def _chosen(model: ir.Model, settings: Mapping[str, Chosen], kept: Collection[str]) -> list[Product]:
    return [one for one in products(model) if one.name not in kept and one.activation.name in settings]


def _checked(before: ir.Model, after: ir.Model) -> ir.Model:
    common.RemoveUnusedNodesPass()(after)  # and weights
    carry_provenance(before, after)
    broken = complaint(before, after)
    if broken:
        raise RouteError(f"the graph in int8 is not right: {broken} Keep it in float32, and report this.")
    return after


@dataclass
class _Writer:
    """Writes nodes and weights into the graph of one model, and each pair of them once."""

    model: ir.Model
    is_by_column: bool = True
    _rounded: dict[tuple[str, ir.Graph], ir.Value] = field(default_factory=dict)
    _measured: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = field(default_factory=dict)
    _held: dict[str, ir.Value] = field(default_factory=dict)
    _names: Names = field(init=False)

    def __post_init__(self) -> None:
        self._names = Names.of_values(self.model)

    @property
    def graph(self) -> ir.Graph:
        return self.model.graph

    def rounded(self, one: Product, setting: Setting) -> ir.Value:
        """What goes into a product after it went through its scale: in the same branch, where engines look for it."""
        value, graph = one.activation, graph_of(one.node)
        key = (str(value.name), graph)
        if key not in self._rounded:
            nodes = list(self._rounding(value, setting, prefix="" if graph is self.graph else one.name))
            if value.graph is graph:
                self._behind(value, nodes)
            else:
                _before(one.node, *nodes)
            self._rounded[key] = nodes[-1].outputs[0]
        return self._rounded[key]

    def weight(self, one: Product, balance: Array | None) -> ir.Value:
        """The weights of a product as they come back from int8."""
        node = self._restoring(one, balance)
        _before(one.node, node)
        return node.outputs[0]

    def switch(self, one: Product, setting: Chosen) -> None:
        """Replaces a product by a choice between it and itself in int8."""
        flag = ir.Value(name=f"{one.name}{SWITCH}", type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
        self.graph.inputs.append(flag)
        balance = setting.balance if isinstance(setting, Setting) else None
        rounding = list(self._switched(one, setting))
        rounded = rounding[-1].outputs[0] if rounding else one.activation
        restoring = self._restoring(one, balance)
        coarse = self._again(one, rounded, restoring.outputs[0], "coarse")
        fine = self._again(one, one.activation, one.weight, "fine")
        branches = {
            "then_branch": ir.Graph([], [coarse.outputs[0]], nodes=[*rounding, restoring, coarse], name="coarse"),
            "else_branch": ir.Graph([], [fine.outputs[0]], nodes=[fine], name="fine"),
        }
        if isinstance(setting, WeightsAlone):
            self._hold_inside(branches["then_branch"], restoring)
        choice = ir.node("If", [flag], attributes=branches, name=f"{one.name}/choice")
        _take_over(one.node, choice)
        _before(one.node, choice)
        graph_of(one.node).remove(one.node, safe=True)

    def _switched(self, one: Product, setting: Chosen) -> Iterator[ir.Node]:
        """The nodes through which what goes into a product is rounded there alone."""
        if isinstance(setting, Setting):
            yield from self._rounding(one.activation, setting, prefix=one.name)
        elif setting is None:
            yield from self._measuring(one)

    def replace_by_measured(self, one: Product) -> None:
        """Replaces a matrix product by one of whole numbers."""
        whole, scale, zero = self._measure(one.activation)
        weight, of_weight = self._quantized(one, None)
        if one.outer == 0:
            weight = self._turned(weight)
        product = self._node("MatMulInteger", one.name, [whole, weight, zero], ir.DataType.INT32)
        numbers = self._node("Cast", one.name, [product.outputs[0]], FLOAT, to=int(FLOAT))
        both = self._node("Mul", f"{one.name}/scales", [scale, of_weight], FLOAT)
        scaled = self._node("Mul", f"{one.name}/scaled", [numbers.outputs[0], both.outputs[0]], FLOAT)
        nodes = [product, numbers, both, scaled]
        if len(one.node.inputs) > 2 and one.node.inputs[2] is not None:
            nodes.append(self._node("Add", f"{one.name}/sum", [scaled.outputs[0], one.node.inputs[2]], FLOAT))
        _before(one.node, *nodes)
        _take_over(one.node, nodes[-1])
        graph_of(one.node).remove(one.node, safe=True)

    def _measure(self, value: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        name = str(value.name)
        if name not in self._measured:
            node = ir.node("DynamicQuantizeLinear", [value], num_outputs=3, name=f"{name}/measured")
            kinds = (ir.DataType.UINT8, FLOAT, ir.DataType.UINT8)
            for output, ending, kind in zip(node.outputs, ("whole", "scale", "zero"), kinds, strict=True):
                output.name, output.dtype = self._names.free(f"{name}/{ending}"), kind
            node.outputs[0].shape = value.shape
            self._behind(value, [node])
            self._measured[name] = (node.outputs[0], node.outputs[1], node.outputs[2])
        return self._measured[name]

    def _measuring(self, one: Product) -> Iterator[ir.Node]:
        """The nodes through which an activation goes to the scale of this call and back."""
        whole = ir.node("DynamicQuantizeLinear", [one.activation], num_outputs=3, name=f"{one.name}/measured")
        for output, ending in zip(whole.outputs, ("whole", "scale", "zero"), strict=True):
            output.name = self._names.free(f"{one.name}/{ending}")
        yield whole
        yield self._node("DequantizeLinear", f"{one.name}/back", list(whole.outputs), FLOAT)

    def _rounding(self, value: ir.Value, setting: Setting, prefix: str = "") -> Iterator[ir.Node]:
        """The nodes through which a value goes to int8 and back."""
        name, scale = str(value.name), setting.scale
        given, place = value, f"{prefix}{'/' if prefix else ''}{name}"
        if setting.balance is not None:
            factor = self._hold(f"{name}/balance", np.asarray(1.0 / setting.balance, np.float32))
            balanced = self._node("Mul", f"{place}/balanced", [value, factor], FLOAT)
            balanced.outputs[0].shape = value.shape
            yield balanced
            given = balanced.outputs[0]
        numbers = [
            self._hold(f"{name}/scale", np.float32(scale.scale)),
            self._hold(f"{name}/zero", np.zeros((), scale.dtype) + scale.dtype.type(scale.zero or 0)),
        ]
        kind = ir.DataType.from_numpy(scale.dtype)
        whole = self._node("QuantizeLinear", f"{place}/quantized", [given, *numbers], kind)
        back = self._node("DequantizeLinear", f"{place}/dequantized", [whole.outputs[0], *numbers], FLOAT)
        whole.outputs[0].shape = back.outputs[0].shape = value.shape
        yield whole
        yield back

    def _restoring(self, one: Product, balance: Array | None) -> ir.Node:
        weight, scale = self._quantized(one, balance)
        axis = {} if scale.shape is not None and scale.shape.rank() == 0 else {"axis": one.outer}
        node = self._node("DequantizeLinear", f"{one.name}/weight", [weight, scale], FLOAT, **axis)
        node.outputs[0].shape = weight.shape
        return node

    def _quantized(self, one: Product, balance: Array | None) -> tuple[ir.Value, ir.Value]:
        """The weights of a product in int8 and their scale; those of an initializer, balance and axis are held once."""
        given = "" if balance is None else f"/{one.activation.name}"
        name = f"{one.weight.name}{given}/{one.outer}/int8"
        if name not in self._held:
            tensor = one.weight.const_value
            assert tensor is not None, "products have weights of their own"
            array = np.asarray(tensor.numpy(), np.float32)
            if balance is not None:
                shape = [1] * array.ndim
                shape[_inner(one)] = -1
                array = array * balance.reshape(shape)
            whole, scale = quantized(array, one.outer if self.is_by_column else None)
            self._hold(name, whole)
            self._hold(f"{name}/scale", scale)
        return self._held[name], self._held[f"{name}/scale"]

    def _hold_inside(self, branch: ir.Graph, node: ir.Node) -> None:
        """Has a branch itself hold what a node takes: there ONNX Runtime looks for weights beside float32."""
        for place, value in enumerate(node.inputs):
            tensor = value.const_value if value is not None else None
            assert tensor is not None, "weights and scales are held"
            inside = ir.tensor(tensor.numpy(), name=self._names.free(f"{tensor.name}/inside"))
            node.replace_input_with(place, held(branch, inside))

    def _turned(self, weight: ir.Value) -> ir.Value:
        """A weight in int8 as [in, out]."""
        tensor = weight.const_value
        assert tensor is not None, "it was quantized here"
        return self._hold(f"{weight.name}/turned", tensor.numpy().T)

    def _hold(self, name: str, array: Any) -> ir.Value:
        if name not in self._held:
            tensor = ir.tensor(np.ascontiguousarray(array).reshape(np.shape(array)), name=self._names.free(name))
            self._held[name] = held(self.graph, tensor)
        return self._held[name]

    def _node(self, kind: str, name: str, inputs: Sequence[ir.Value], dtype: ir.DataType, **attributes: Any) -> ir.Node:
        node = ir.node(kind, list(inputs), attributes=attributes, name=f"{name}/{kind}")
        node.outputs[0].name, node.outputs[0].dtype = self._names.free(f"{name}/{kind}/out"), dtype
        return node

    def _again(self, one: Product, activation: ir.Value, weight: ir.Value, how: str) -> ir.Node:
        """The node of a product with other operands."""
        node = ir.node(
            one.node.op_type,
            [activation, weight, *one.node.inputs[2:]],
            attributes=dict(one.node.attributes),
            name=f"{one.name}/{how}",
        )
        node.outputs[0].name = self._names.free(f"{node.name}/out")
        node.outputs[0].type, node.outputs[0].shape = one.node.outputs[0].type, one.node.outputs[0].shape
        return node

    def _behind(self, value: ir.Value, nodes: Sequence[ir.Node]) -> None:
        """Puts nodes where a value is first there."""
        producer = value.producer()
        if producer is not None:
            graph_of(producer).insert_after(producer, nodes)
        else:
            self.graph.insert_before(self.graph[0], nodes)


def _before(node: ir.Node, *others: ir.Node) -> None:
    """Puts nodes before another, in the branch where that is."""
    graph_of(node).insert_before(node, others)


def _inner(one: Product) -> int:
    assert one.inner is not None, "only products over one axis are balanced"
    return one.inner


def _take_over(node: ir.Node, other: ir.Node) -> None:
    """Has another node give what a node gives, under the same name."""
    old, new = node.outputs[0], other.outputs[0]
    new.type, new.shape = old.type, old.shape
    name, old.name = old.name, f"{old.name}/replaced"
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name = name
