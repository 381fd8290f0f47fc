"""Whole numbers that floats decide: the place of the largest, a comparison, what is rounded."""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.cutting import bodies, operands
from onnxwright.graph.typed import infer_types

_SIZES: Final = {"Shape", "Size"}
"""What these answer, no number of their input decides."""


def decided(model: ir.Model) -> frozenset[str]:
    """Returns the names of outputs in other types than floats which floats decide that are computed of the inputs.

    In a lower type such an output may well turn out otherwise; one that only whole numbers and sizes decide never does.
    Types that aren't known are written into the graph.
    """
    if all(map(_is_float, model.graph.outputs)):
        return frozenset()
    infer_types(model)
    fed = set[ir.Value](model.graph.inputs)
    deciding = {value for value in fed if _is_float(value)}
    for node in model.graph:
        given = [] if node.op_type in _SIZES else list(operands(node))
        if fed.isdisjoint(given):
            continue
        fed.update(node.outputs)
        is_decided = not deciding.isdisjoint(given) or any(True for _ in bodies(node))
        deciding.update(value for value in node.outputs if is_decided or _is_float(value))
    return frozenset(str(value.name) for value in model.graph.outputs if value in deciding and not _is_float(value))


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()
