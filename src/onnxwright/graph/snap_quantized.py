"""Weights under `QuantizeLinear`, moved onto the grid on which PyTorch put them.

PyTorch's fake quantization rounds `x * (1 / scale)`, ONNX's `QuantizeLinear` rounds `x / scale`. Where `x / scale` lies
halfway between two steps, as the greatest weight of a symmetric channel does, the two can differ by a whole step. A
weight that already lies on PyTorch's grid is quantized to the same step by both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

Array = np.ndarray[Any, np.dtype[Any]]


def snap_quantized(model: ir.Model) -> ir.Model:
    """Replaces every constant that a `QuantizeLinear` with constant scale quantizes by what PyTorch makes of it."""
    for node in [*model.graph.all_nodes()]:
        if node.op_type == "QuantizeLinear":
            values = [None if value is None else _constant(value) for value in node.inputs]
            if len(values) == 3 and all(value is not None for value in values):
                _snap(model.graph, node, [value for value in values if value is not None])
    return model


def _snap(graph: ir.Graph, node: ir.Node, constants: list[Array]) -> None:
    weight, scale, zero = constants
    shape = [1] * weight.ndim
    if scale.ndim == 1:
        shape[node.attributes.get_int("axis", 1)] = -1
    on_grid = _fake_quantized(weight, scale.reshape(shape), zero.reshape(shape))
    original = node.inputs[0]
    name = f"{original.name if original else node.name}_on_grid"
    snapped = ir.Value(name=name, const_value=ir.tensor(on_grid, name=name))
    snapped.dtype, snapped.shape = ir.DataType.FLOAT, ir.Shape(on_grid.shape)
    graph.initializers[name] = snapped
    node.replace_input_with(0, snapped)
    if original is not None and original.name and original.name in graph.initializers and not original.uses():
        del graph.initializers[original.name]


def _fake_quantized(weight: Array, scale: Array, zero: Array) -> Array:
    """As `torch.fake_quantize_per_channel_affine` computes it, in float32."""
    least, most = np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max
    offset = zero.astype(np.float32)
    steps = np.clip(np.rint(weight * (np.float32(1.0) / scale)) + offset, least, most)
    return np.asarray((steps - offset) * scale, dtype=np.float32)


def _constant(value: ir.Value) -> Array | None:
    if value.const_value is not None:
        return value.const_value.numpy()
    producer = value.producer()
    if producer is not None and producer.op_type == "Constant" and "value" in producer.attributes:
        return producer.attributes["value"].as_tensor().numpy()
    if producer is not None and producer.op_type == "Cast" and producer.inputs[0] is not None:
        inner = _constant(producer.inputs[0])
        return None if inner is None else inner.astype(ir.DataType(producer.attributes["to"].as_int()).numpy())
    return None
