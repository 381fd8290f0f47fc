"""Writes what TensorRT's parser would misread without a word in a way that it reads right.

Recurrent layers with the batch first (`layout = 1`) get turned inputs and outputs. `Trilu` says which part it keeps,
and `Selu`, which PyTorch's exporter writes without its numbers, these.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by, written
from onnxwright.graph.fitting import Fit
from onnxwright.graph.misreadings import DEFAULTS, RECURRENT, misreading

_RECURRENT: Final = {"RNN": ("h",), "GRU": ("h",), "LSTM": ("h", "c")}
"""What each hands on from step to step."""
_PLACES: Final = {"h": 5, "c": 6}


def _rewrite(model: ir.Model) -> int:
    count = sum(define_by(model, operator, _with_the_sequence_first) for operator in _RECURRENT)
    for node in model.graph.all_nodes():
        if node.op_type in DEFAULTS and misreading(node):
            for name, value in DEFAULTS[node.op_type].items():
                node.attributes.setdefault(name, ir.convenience.convert_attribute(name, value))
            count += 1
    return count


def _with_the_sequence_first(node: ir.Node) -> str:
    if not misreading(node):
        return ""
    states = _RECURRENT[node.op_type]
    inputs = ["x", "w", "r", "b", "l", "h", "c", "p"][: len(node.inputs)]
    turned = {"x": "xt", **{name: f"{name}t" for name in states if _is_given(node, _PLACES[name])}}
    given = ["" if not _is_given(node, place) else turned.get(name, name) for place, name in enumerate(inputs)]
    before = " ".join(f"{to} = Transpose <perm = [1, 0, 2]> ({name})" for name, to in turned.items())
    kept = [name for name in node.attributes if name != "layout"]
    after = " ".join(f"{name}y = Transpose <perm = [1, 0, 2]> ({name}s)" for name in states)
    answers = ", ".join(["ys", *(f"{name}s" for name in states)])
    outputs = ["y", *(f"{name}y" for name in states)][: len(node.outputs)]
    return f"""({", ".join(inputs)}) => ({", ".join(outputs)}) {{
        {before} {answers} = {node.op_type} <{written(node, kept)}> ({", ".join(given)})
        y = Transpose <perm = [2, 0, 1, 3]> (ys) {after}
    }}"""


def _is_given(node: ir.Node, place: int) -> bool:
    return place < len(node.inputs) and node.inputs[place] is not None


FIT = Fit(
    name="read_as_written",
    summary="Writes what TensorRT's parser would misread without a word in a way that it reads right.",
    change=_rewrite,
    operators=RECURRENT | DEFAULTS.keys(),
)
