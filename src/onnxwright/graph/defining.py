"""Operators replaced by what we define them as, in ONNX text, where ONNX itself gives no definition."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import onnx
import onnx_ir as ir

from onnxwright.graph.expanding import expand

_DOMAIN: Final = "onnxwright.fit"


def define_by(model: ir.Model, operator: str, write: Callable[[ir.Node], str], *, domain: str = "") -> int:
    """Replaces nodes of an operator by the body of what is written for each, and returns how many.

    What is written follows the name of a function: its inputs, outputs and nodes. Nodes for which nothing is stay.
    """
    own = dict(model.functions)
    found = [node for node in model.graph.all_nodes() if node.op_type == operator and node.domain == domain]
    names = [_name(model, node, text) for node, text in ((node, write(node)) for node in found) if text]
    if not names:
        return 0
    model.opset_imports[_DOMAIN] = 1
    try:
        return expand(model, names)
    finally:
        model.functions.clear()
        model.functions.update(own)
        del model.opset_imports[_DOMAIN]


def written(node: ir.Node, only: Collection[str] | None = None) -> str:
    """Returns the attributes of a node as ONNX text has them, or only some; nothing where there are none."""
    known = {name: one for name, one in node.attributes.items() if only is None or name in only}
    return ", ".join(f"{name} = {_literal(one.value)}" for name, one in known.items())


def whole_numbers(listed: Sequence[int]) -> str:
    """Returns a list of whole numbers as a constant, in ONNX text."""
    return f"Constant <value = int64[{len(listed)}] {{{', '.join(map(str, listed))}}}> ()"


def _literal(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, (list, tuple)) else str(value)


def _name(model: ir.Model, node: ir.Node, text: str) -> str:
    """Makes a node one of a function of its own, and returns what that is called."""
    name = f"{node.op_type}_{len(model.functions)}"
    head = f'<domain: "{_DOMAIN}", opset_import: ["" : {model.opset_imports[""]}]>'
    function = ir.serde.deserialize_function(onnx.parser.parse_function(f"{head} {name} {text}"))
    model.functions[function.identifier()] = function
    node.op_type, node.domain = name, _DOMAIN
    node.attributes.clear()
    return name
