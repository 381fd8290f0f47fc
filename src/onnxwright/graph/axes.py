"""Axes that are counted from the end where ONNX takes them from the front alone."""

from __future__ import annotations

import onnx_ir as ir


def counted_from_the_front(model: ir.Model) -> int:
    """Has each `Transpose` count its axes from the front, and returns how many did not.

    The TorchScript exporter hands on what `permute(0, -2, -1, 1)` was given.
    """
    count = 0
    for node in (node for graph in model.graphs() for node in graph if node.op_type == "Transpose" and not node.domain):
        axes = node.attributes.get_ints("perm", ())
        if any(axis < 0 for axis in axes):
            node.attributes["perm"] = ir.AttrInt64s("perm", [axis % len(axes) for axis in axes])
            count += 1
    return count
