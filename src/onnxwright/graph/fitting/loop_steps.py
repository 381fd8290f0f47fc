"""Takes one element of each round of a loop by `Gather`: TensorRT builds no loop with a `Slice` from `i` to `i + 1`.

`for step in range(x.shape[1]): x[:, step]` is exported like that by TorchScript, one element wide.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_PASSING = ("Unsqueeze", "Squeeze", "Reshape", "Identity", "Cast")
_TEXT = """(x, start, end{more}) => (y) {{ y = Gather <axis = {axis}> (x, start) }}"""


def _rewrite(model: ir.Model) -> int:
    loops = [node for node in model.graph.all_nodes() if node.op_type == "Loop" and not node.domain]
    rounds = {node.attributes["body"].as_graph().inputs[0] for node in loops}
    return define_by(model, "Slice", lambda node: _text(node, rounds))


def _text(node: ir.Node, rounds: Collection[ir.Value]) -> str:
    if len(node.inputs) < 4 or not _is_one_wide(node.inputs[1], node.inputs[2], rounds):
        return ""
    axis, step = _number(node.inputs[3]), 1 if len(node.inputs) < 5 else _number(node.inputs[4])
    if axis is None or step != 1:
        return ""
    return _TEXT.format(more="".join(f", {name}" for name in ("axes", "steps")[: len(node.inputs) - 3]), axis=axis)


def _is_one_wide(start: ir.Value | None, end: ir.Value | None, rounds: Collection[ir.Value]) -> bool:
    """Whether a slice goes from the number of a loop's round, which is never negative, to the next."""
    first, last = _origin(start), _origin(end)
    giver = None if last is None else last.producer()
    if first not in rounds or giver is None or giver.op_type != "Add":
        return False
    rest = [value for value in map(_origin, giver.inputs) if value is not first]
    return len(rest) == 1 and _number(rest[0]) == 1


def _origin(value: ir.Value | None) -> ir.Value | None:
    while value is not None and value.producer() is not None:
        giver = value.producer()
        if giver is None or giver.op_type not in _PASSING:
            break
        value = giver.inputs[0]
    return value


def _number(value: ir.Value | None) -> int | None:
    origin = _origin(value)
    numbers = None if origin is None else ir.convenience.get_const_tensor(origin)
    return None if numbers is None or numbers.size != 1 else int(numbers.numpy().ravel()[0])


FIT = Fit(
    name="loop_steps",
    summary="Takes the element of each round of a loop by `Gather`.",
    change=_rewrite,
    words=("makeScopeNodesContiguous",),
)
