"""What TensorRT's parser takes for something else without a word: one function an operator, found by building.

An engine built with an attribute and one built without it have the same bytes where the parser doesn't look at it; so
had, with TensorRT for RTX 1.7, those of an operator without an attribute and with another value than ONNX's default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import onnx_ir as ir


def misreading(node: ir.Node) -> str:
    """Says in which way a node of ONNX's own would be taken for something else; nothing where it wouldn't."""
    tell = _TELLING.get(node.op_type)
    return "" if tell is None or node.domain else tell(node)


def _recurrent(node: ir.Node) -> str:
    if not node.attributes.get_int("layout", 0):
        return ""
    return "layout 1 isn't looked at: sequence and batch would change places."


def _triangle(node: ir.Node) -> str:
    return "" if "upper" in node.attributes else "upper, which is 1 where it isn't given, would be taken for 0."


_TELLING: Final[Mapping[str, Callable[[ir.Node], str]]] = {
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "RNN": _recurrent,
    "Trilu": _triangle,
}
