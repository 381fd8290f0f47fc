"""Computes in float32 what a graph computes in float64, as TensorRT does without a word.

What goes in or comes out keeps its type. Whether that is near enough is for the proof to say, which holds an output in
float64 to float64.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.graph.adding import held
from onnxwright.graph.bounding import cast_around
from onnxwright.graph.doubles import in_doubles, is_rounding
from onnxwright.graph.fitting import Fit

_SINGLE, _DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE
_NAMING: Final = ("to", "dtype")


def _rewrite(model: ir.Model) -> int:
    count = len(in_doubles(model))
    if not count:
        return 0
    kept = cast_around(model, {_DOUBLE: _SINGLE}, leaving=is_rounding)
    for node in model.graph.all_nodes():
        if node not in kept and not _is_of_output(node):
            _name_singles(node)
    for graph in model.graphs():
        _hold_singles(graph)
    for value in (value for node in model.graph.all_nodes() for value in node.outputs):
        if value.dtype == _DOUBLE and not value.is_graph_output():
            value.type = ir.TensorType(_SINGLE)
    return count


def _hold_singles(graph: ir.Graph) -> None:
    """Has a graph hold its numbers in float32."""
    for name, value in list(graph.initializers.items()):
        if value.dtype == _DOUBLE and value.const_value is not None and not value.is_graph_input():
            numbers = value.const_value.numpy().astype(np.float32)
            narrow = held(graph, ir.tensor(numbers, _SINGLE, name=f"{name}_in_float32"))
            ir.convenience.replace_all_uses_with(value, narrow)
            if not value.is_graph_output():
                del graph.initializers[name]


def _is_of_output(node: ir.Node) -> bool:
    return is_rounding(node) and node.outputs[0].is_graph_output()


def _name_singles(node: ir.Node) -> None:
    """Has a node make or cast to float32 where it did float64."""
    for name, one in list(node.attributes.items()):
        if name in _NAMING and one.type == ir.AttributeType.INT and one.value == int(_DOUBLE):
            node.attributes[name] = ir.AttrInt64(name, int(_SINGLE))
        elif one.type == ir.AttributeType.TENSOR and one.value.dtype == _DOUBLE:
            narrow = ir.tensor(one.value.numpy().astype(np.float32), _SINGLE, name=one.value.name)
            node.attributes[name] = ir.AttrTensor(name, narrow)


FIT = Fit(
    name="single_numbers",
    summary="Computes in float32 what is computed in float64.",
    change=_rewrite,
    words=("in float64 would be computed in float32",),
)
