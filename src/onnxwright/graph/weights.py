"""The large weights of a graph, apart from it: what only looks at a graph, or rewrites it, needs no copy of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

import onnx
import onnx_ir as ir

LEAST_BYTES: Final = 1024
"""Smaller weights stay with the graph in any case: shapes and axes are among them."""
Weights = Mapping[str, ir.TensorProtocol]


@contextlib.contextmanager
def left_out(graph: ir.Graph) -> Iterator[Weights]:
    """Has each large weight say that it lies elsewhere while entered, and yields those weights by name."""
    large = {name: value for name, value in graph.initializers.items() if _is_large(value.const_value)}
    weights = {name: value.const_value for name, value in large.items() if value.const_value is not None}
    for name, weight in weights.items():
        large[name].const_value = _elsewhere(weight, name)
    try:
        yield weights
    finally:
        for name, weight in weights.items():
            large[name].const_value = weight


@contextlib.contextmanager
def mapped_meanwhile(model: ir.Model) -> Iterator[None]:
    """Has the weights of a model that are mapped into memory while entered be let go of afterwards."""
    held = [value.const_value for graph in model.graphs() for value in graph.initializers.values()]
    free = [one for one in held if isinstance(one, ir.ExternalTensor) and one.raw is None]
    try:
        yield
    finally:
        for weight in free:
            with contextlib.suppress(BufferError):  # something still looks at it
                weight.release()


def is_elsewhere(tensor: onnx.TensorProto) -> bool:
    """Whether a weight lies outside of the message."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Declares the weights that lie elsewhere as inputs, so that a model can be checked and converted without them."""
    graph = model.graph
    known = {value.name for value in graph.input}
    elsewhere = [one for one in graph.initializer if is_elsewhere(one)]
    kept = [one for one in graph.initializer if not is_elsewhere(one)]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    declared = (onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in elsewhere)
    graph.input.extend(one for one in declared if one.name not in known)
    return model


def put_back(model: ir.Model, weights: Weights) -> ir.Model:
    """Makes weights again of the inputs that stand for them."""
    inputs = [value for value in model.graph.inputs if value.name not in weights]
    declared = [value for value in model.graph.inputs if value.name in weights]
    model.graph.inputs.clear()
    model.graph.inputs.extend(inputs)
    for value in declared:
        value.const_value = weights[str(value.name)]
        model.graph.register_initializer(value)
    return model


def _is_large(weight: ir.TensorProtocol | None) -> bool:
    if weight is None or weight.dtype == ir.DataType.STRING:
        return False
    return weight.nbytes > LEAST_BYTES or isinstance(weight, ir.ExternalTensor)


def _elsewhere(weight: ir.TensorProtocol, name: str) -> ir.ExternalTensor:
    shape = ir.Shape(weight.shape.numpy())
    return ir.ExternalTensor("", 0, weight.nbytes, weight.dtype, shape=shape, name=name, doc_string=weight.doc_string)
