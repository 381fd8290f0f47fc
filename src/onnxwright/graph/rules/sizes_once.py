"""Computes sizes once, from the first value that has them.

PyTorch code asks each tensor for its sizes: `hidden.size(1)` in each layer becomes a `Shape` and a `Gather` of its own.
Tensors of whole numbers that are known, by name, to have the same elements become one; those of numbers, a constant.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxwright.graph.following import follow_sizes
from onnxwright.graph.passes import Log
from onnxwright.graph.rules import Rule
from onnxwright.graph.sizes import Sizes, sizes_of

_WHOLE = {ir.DataType.INT64, ir.DataType.INT32}


def _once(model: ir.Model, log: Log) -> int:
    firsts: dict[tuple[object, ...], ir.Value] = {}
    count = 0
    for value, elements in list(_known(model)):
        node = value.producer()
        first = firsts.setdefault((value.dtype, sizes_of(value), elements), value)
        if node is None or value.is_graph_output():
            continue
        if all(isinstance(element, int) for element in elements):
            first = _constant(model, value, elements)
        if first is not value and value.uses():
            value.replace_all_uses_with(first)
            log.hit(RULE.name, node)
            count += 1
    RemoveUnusedNodesPass()(model)
    return count


def _known(model: ir.Model) -> Iterator[tuple[ir.Value, Sizes]]:
    found = follow_sizes(model)
    for node in model.graph:
        for value in node.outputs:
            if value in found and None not in found[value] and value.dtype in _WHOLE and node.op_type != "Constant":
                yield value, found[value]


def _constant(model: ir.Model, value: ir.Value, elements: Sizes) -> ir.Value:
    assert value.dtype is not None
    array = np.array(elements, dtype=value.dtype.numpy()).reshape([len(elements)] * len(sizes_of(value) or ()))
    name = f"{value.name}_known"
    tensor = ir.tensor(array, name=name)
    constant = ir.Value(name=name, type=value.type, shape=ir.Shape(array.shape), const_value=tensor)
    model.graph.initializers.setdefault(name, constant)
    return model.graph.initializers[name]


RULE = Rule(
    name="sizes-once",
    group="simplify",
    summary="Computes each size once, from the first value that has it.",
    change=_once,
    is_quiet=True,
)
