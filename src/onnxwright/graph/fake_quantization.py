"""Fake quantization, as routes leave it in a graph, written as `QuantizeLinear` and `DequantizeLinear`.

A route writes one node for each call of PyTorch's operators, `FakeQuantize(x, scale, zero_point)` in a domain of its
own, with `axis` (negative: one scale for all), `least` and `most` of the steps. PyTorch computes

    (clamp(round(x * (1 / scale)) + zero_point, least, most) - zero_point) * scale

Steps that fit into eight bits become a pair of ONNX's operators with the same scale, zero point and axis. Where the
range is narrower than the type, what lies outside is clipped: before the pair, at the numbers of the least and the most
step, so that engines see the pair as one; between the two where each channel has numbers of its own. What the pair
can't say (more than eight bits, zero points between steps, scales that are computed) is written out.

`QuantizeLinear` rounds `x / scale`, PyTorch `x * (1 / scale)`. Where `x / scale` lies halfway between two steps, as the
greatest weight of a symmetric channel does, the two can differ by a whole step. Weights are therefore moved onto the
grid on which PyTorch puts them, from which both quantize to the same step, and need no clipping.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from onnxwright.errors import RouteError
from onnxwright.graph.cutting import cut

Array = np.ndarray[Any, np.dtype[Any]]

DOMAIN: Final = "onnxwright"
OPERATOR: Final = "FakeQuantize"
PER_TENSOR: Final = -1
_PER_CHANNEL_OPSET: Final = 13
_TYPES: Final = (np.dtype(np.uint8), np.dtype(np.int8))


@dataclass(frozen=True)
class Steps:
    """How numbers are put on a grid: the size and the zero of its steps, the least and the most, and the axis.

    `scale` and `zero` have an element for each channel along `axis`, and none of their own where that is negative.
    """

    scale: Array
    zero: Array
    axis: int
    least: int
    most: int

    @property
    def is_per_channel(self) -> bool:
        """Whether each channel has a grid of its own."""
        return self.axis >= 0

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The type of eight bits that holds the steps; none where they don't fit, or the zero isn't a step."""
        if not np.array_equal(self.zero, np.rint(self.zero)):
            return None
        fitting = (one for one in _TYPES if np.iinfo(one).min <= self.least and self.most <= np.iinfo(one).max)
        return next(fitting, None)

    def along(self, rank: int) -> tuple[Array, Array]:
        """Returns scale and zero so that they meet the channels of a tensor of some rank."""
        shape = [-1 if axis == self.axis else 1 for axis in range(rank)] if self.is_per_channel else []
        return self.scale.reshape(shape), self.zero.astype(np.float32).reshape(shape)

    def applied(self, numbers: Array) -> Array:
        """Returns numbers as PyTorch puts them on the grid, in float32."""
        scale, zero = self.along(numbers.ndim)
        scaled = numbers * (np.float32(1.0) / scale)
        steps = np.rint(scaled) + zero if self.dtype is not None else np.rint(scaled + zero)
        return np.asarray((np.clip(steps, self.least, self.most) - zero) * scale, dtype=np.float32)


class _Weights:
    """The weights that were moved onto a grid; one that is called for twice is made once."""

    def __init__(self, model: ir.Model):
        self.model = model
        self._made: dict[tuple[Any, ...], ir.Value] = {}

    def snapped(self, given: ir.Value, weight: Array, steps: Steps) -> ir.Value:
        """A weight on the grid, made anew from the weight itself whenever it is read, so that no second one is held."""
        grid = (steps.scale.tobytes(), steps.zero.tobytes(), steps.axis, steps.least, steps.most)
        if (given, *grid) not in self._made:
            name = f"{given.name}_on_grid"
            if name in self.model.graph.initializers:
                name = f"{name}_{len(self._made)}"
            kind, shape = ir.DataType.FLOAT, ir.Shape(weight.shape)
            apply = functools.partial(_tensor, steps, weight, name)
            lazy = ir.LazyTensor(apply, dtype=kind, shape=shape, name=name)
            value = ir.Value(name=name, type=ir.TensorType(kind), shape=shape, const_value=lazy)
            self.model.graph.initializers[name] = self._made[given, *grid] = value
        return self._made[given, *grid]


def _tensor(steps: Steps, weight: Array, name: str) -> ir.TensorProtocol:
    return ir.tensor(steps.applied(weight), name=name)


def quantized_as_onnx(model: ir.Model) -> ir.Model:
    """Writes every fake quantization in a graph with ONNX's operators.

    Raises:
        RouteError: when the graph's opset has none for channels.
    """
    weights = _Weights(model)
    for node in [*model.graph.all_nodes()]:
        if node.domain == DOMAIN and node.op_type == OPERATOR:
            _write(model, node, weights)
    model.opset_imports.pop(DOMAIN, None)
    for graph in model.graphs():
        graph.opset_imports.pop(DOMAIN, None)
    return model


def _write(model: ir.Model, node: ir.Node, weights: _Weights) -> None:
    taken, scale, zero = node.inputs
    assert taken is not None, "the routes write all three"
    assert scale is not None, "the routes write all three"
    assert zero is not None, "the routes write all three"
    tape = _Tape(node)
    given = tape.cast(taken, ir.DataType.FLOAT) if taken.dtype not in (None, ir.DataType.FLOAT) else taken
    steps = _steps(model, node, scale, zero)
    answer = _on_grid(tape, given, steps, weights) if steps else _computed(tape, node, given, scale, zero)
    if given is not taken and taken.dtype is not None:
        answer = tape.cast(answer, taken.dtype)
    _put_in_place(model, node, tape, answer)


def _steps(model: ir.Model, node: ir.Node, scale: ir.Value, zero: ir.Value) -> Steps | None:
    """The grid of a node; none where it is computed from an input."""
    numbers = _constant(model, scale), _constant(model, zero)
    if numbers[0] is None or numbers[1] is None:
        return None
    axis, least, most = _range(node)
    shape = (-1,) if axis >= 0 else ()
    return Steps(numbers[0].astype(np.float32).reshape(shape), numbers[1].reshape(shape), axis, least, most)


def _range(node: ir.Node) -> tuple[int, int, int]:
    axis, least, most = (node.attributes[name].as_int() for name in ("axis", "least", "most"))
    return axis, least, most


def _on_grid(tape: _Tape, given: ir.Value, steps: Steps, weights: _Weights) -> ir.Value:
    model = weights.model
    weight = _constant(model, given)
    if weight is not None:
        given = weights.snapped(given, weight, steps)
    if steps.dtype is None:
        return given if weight is not None else _written_out(tape, given, steps)
    if steps.is_per_channel and model.opset_imports.get("", 0) < _PER_CHANNEL_OPSET:
        raise RouteError(
            f"Fake quantization per channel: support for this operator was added in version {_PER_CHANNEL_OPSET}, "
            f"and the graph is to be of opset {model.opset_imports.get('', 0)}."
        )
    return _paired(tape, given, steps, is_clipped=weight is None)


def _paired(tape: _Tape, given: ir.Value, steps: Steps, *, is_clipped: bool) -> ir.Value:
    dtype = steps.dtype
    assert dtype is not None, "asked for steps of eight bits only"
    scale, zero = tape.constant(steps.scale), tape.constant(steps.zero.astype(dtype))
    is_narrow = is_clipped and (steps.least, steps.most) != (np.iinfo(dtype).min, np.iinfo(dtype).max)
    axis = {"axis": steps.axis} if steps.is_per_channel else {}
    if is_narrow and not steps.is_per_channel:
        ends = [
            tape.constant(np.asarray((np.float32(end) - np.float32(steps.zero)) * steps.scale, np.float32))
            for end in (steps.least, steps.most)
        ]
        given = tape.op("Clip", given, *ends, dtype=ir.DataType.FLOAT)
    kind = ir.DataType.from_numpy(dtype)
    quantized = tape.op("QuantizeLinear", given, scale, zero, dtype=kind, **axis)
    if is_narrow and steps.is_per_channel:
        ends = [tape.constant(np.asarray(end, dtype)) for end in (steps.least, steps.most)]
        quantized = tape.op("Clip", quantized, *ends, dtype=kind)
    return tape.op("DequantizeLinear", quantized, scale, zero, dtype=ir.DataType.FLOAT, **axis)


def _written_out(tape: _Tape, given: ir.Value, steps: Steps) -> ir.Value:
    scale, zero = steps.along(len(given.shape) if given.shape is not None else 0)
    if steps.is_per_channel and given.shape is None:
        raise RouteError("Fake quantization per channel of a tensor whose rank the graph doesn't say.")
    numbers = [tape.constant(np.asarray(one, np.float32)) for one in (np.float32(1.0) / scale, zero, scale)]
    is_between = not np.array_equal(steps.zero, np.rint(steps.zero))
    return _arithmetic(tape, given, numbers, (steps.least, steps.most), is_between=is_between)


def _computed(tape: _Tape, node: ir.Node, given: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
    """A grid that depends on an input, which no engine could take for a pair of constants anyway."""
    axis, least, most = _range(node)
    if axis >= 0:
        raise RouteError("Fake quantization per channel with a scale that is computed from an input has no form here.")
    width, zeros = tape.cast(scale, ir.DataType.FLOAT), tape.cast(zero, ir.DataType.FLOAT)
    inverse = tape.op("Div", tape.constant(np.float32(1.0)), width, dtype=ir.DataType.FLOAT)
    return _arithmetic(tape, given, [inverse, zeros, width], (least, most), is_between=False)


def _arithmetic(
    tape: _Tape, given: ir.Value, numbers: list[ir.Value], ends: tuple[int, int], *, is_between: bool
) -> ir.Value:
    """PyTorch's definition, operator by operator; a zero between two steps is added before the rounding."""
    inverse, zero, scale = numbers
    single = ir.DataType.FLOAT
    steps = tape.op("Mul", given, inverse, dtype=single)
    for kind, operands in (("Add", [zero]), ("Round", [])) if is_between else (("Round", []), ("Add", [zero])):
        steps = tape.op(kind, steps, *operands, dtype=single)
    clipped = tape.op("Clip", steps, *(tape.constant(np.float32(end)) for end in ends), dtype=single)
    return tape.op("Mul", tape.op("Sub", clipped, zero, dtype=single), scale, dtype=single)


class _Tape:
    """The nodes that stand for another, in order; they come from the same place in the user's code."""

    def __init__(self, origin: ir.Node):
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []
        self._origin = origin

    def op(self, kind: str, *inputs: ir.Value, dtype: ir.DataType, **attributes: int) -> ir.Value:
        """Adds a node whose answer has the shape of the origin's, and returns that answer."""
        (told,) = self._origin.outputs
        answer = ir.Value(
            name=f"{told.name}_{kind}_{len(self.nodes)}",
            type=ir.TensorType(dtype),
            shape=told.shape.copy() if told.shape is not None else None,
        )
        node = ir.node(kind, list(inputs), attributes=attributes, outputs=[answer], name=answer.name)
        node.doc_string = self._origin.doc_string
        node.metadata_props.update(self._origin.metadata_props)
        self.nodes.append(node)
        return answer

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Adds a cast."""
        return self.op("Cast", value, dtype=dtype, to=int(dtype))

    def constant(self, numbers: Any) -> ir.Value:
        """Adds an initializer."""
        (told,) = self._origin.outputs
        array = np.asarray(numbers)
        tensor = ir.tensor(array, name=f"{told.name}_steps_{len(self.initializers)}")
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
        value = ir.Value(name=tensor.name, type=kind, shape=shape, const_value=tensor)
        self.initializers.append(value)
        return value


def _put_in_place(model: ir.Model, node: ir.Node, tape: _Tape, answer: ir.Value) -> None:
    (output,), graph, takes = node.outputs, node.graph, list(node.inputs)
    assert isinstance(graph, ir.Graph), "fake quantization is exported into graphs, not into functions"
    if not tape.nodes:
        answer = tape.op("Identity", answer, dtype=ir.DataType(output.dtype or ir.DataType.FLOAT))
    model.graph.initializers.update({str(one.name): one for one in tape.initializers})
    name = output.name
    graph.insert_before(node, tape.nodes)
    output.replace_all_uses_with(answer, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    answer.name = name
    for value in takes:
        _forget(model.graph, value)


def _forget(graph: ir.Graph, value: ir.Value | None) -> None:
    """Drops a weight that nothing takes any more, and what only made such a value."""
    if value is None or value.uses() or value.is_graph_output():
        return
    producer = value.producer()
    if producer is None:
        if value.is_initializer() and not value.is_graph_input():
            graph.initializers.pop(str(value.name), None)
        return
    if producer.graph is not None and all(not one.uses() and not one.is_graph_output() for one in producer.outputs):
        takes = list(producer.inputs)
        producer.graph.remove(producer, safe=True)
        for one in takes:
            _forget(graph, one)


def _constant(model: ir.Model, value: ir.Value) -> Array | None:
    """Returns what a value is where it depends on no input, computed as ONNX defines it."""
    from onnx.reference import ReferenceEvaluator

    if value.is_graph_input():
        return None
    if value.const_value is not None:
        return value.const_value.numpy()
    try:
        evaluator: Any = ReferenceEvaluator(ir.to_proto(cut(model, [], [value])))
    except (
        ValueError,
        NotImplementedError,
        RuntimeError,
    ):  # it depends on an input, or the evaluator lacks an operator
        return None
    return np.asarray(evaluator.run(None, {})[0])
