"""What TensorRT's parser takes for something else without a word, found by building.

An engine built with an attribute and one built without it have the same bytes where the parser doesn't look at it; so
had, with TensorRT for RTX 1.7, those of an operator without an attribute and with another value than ONNX's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import onnx_ir as ir

from onnxwright.graph.doubles import in_doubles

IN_DOUBLES: Final = "what it computes in float64 would be computed in float32."
RECURRENT: Final = frozenset({"GRU", "LSTM", "RNN"})
DEFAULTS: Final[Mapping[str, Mapping[str, int | float]]] = {
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "Trilu": {"upper": 1},
}
"""What ONNX takes for attributes that aren't given, and the parser doesn't: of Selu it has the first digits only."""


def misreadings(model: ir.Model) -> dict[ir.Node, str]:
    """Says of each node that would be taken for something else in which way."""
    found = {node: misreading(node) for node in model.graph.all_nodes()}
    found |= dict.fromkeys(in_doubles(model), IN_DOUBLES)
    return {node: reason for node, reason in found.items() if reason}


def misreading(node: ir.Node) -> str:
    """Says in which way a node of ONNX's own would be taken for something else; nothing where it wouldn't."""
    if node.domain:
        return ""
    if node.op_type in RECURRENT and node.attributes.get_int("layout", 0) == 1:
        return "layout 1 isn't looked at: sequence and batch would change places."
    untold = [name for name in DEFAULTS.get(node.op_type, ()) if name not in node.attributes]
    told = " and ".join(f"{name} of {DEFAULTS[node.op_type][name]:g}" for name in untold)
    return f"its default {told} would be taken for another." if untold else ""
