"""Writes `Compress` by a constant mask, as `x[:, mask]` with a buffer leaves it, as `Gather` of what it chooses."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "Compress", _text)


def _text(node: ir.Node) -> str:
    mask = node.inputs[1]
    numbers = None if mask is None or mask.is_graph_input() else ir.convenience.get_const_tensor(mask)
    if numbers is None:
        return ""
    places = np.flatnonzero(numbers.numpy()).tolist()
    listed = f"i = Constant <value = int64[{len(places)}] {{{', '.join(map(str, places))}}}> ()"
    if "axis" in node.attributes:
        return f"(x, c) => (y) {{ {listed} y = Gather <axis = {node.attributes.get_int('axis')}> (x, i) }}"
    flat = "f = Constant <value = int64[1] {-1}> () r = Reshape (x, f)"
    return f"(x, c) => (y) {{ {listed} {flat} y = Gather <axis = 0> (r, i) }}"


FIT = Fit(
    name="chosen_rows",
    summary="Writes a choice by a constant mask as `Gather`.",
    change=_rewrite,
    operators=frozenset({"Compress"}),
)
