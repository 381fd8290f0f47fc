"""Computes for every place what is computed for those of a mask, and leaves it out where the mask is false.

A mixture of experts lists the tokens of each expert (`NonZero`), computes them row by row, and adds the rows to the
answer (`index_add_`), or puts them there (`y[mask] = …`). For TensorRT, which has no `NonZero`, each
expert computes all tokens, and rows that aren't its own are zero before they are added, or what was there. That is
right where rows don't influence each other, which the graph doesn't show, and the proof does; each expert computes as
much as all together did.
"""

from __future__ import annotations

from typing import NamedTuple

import onnx_ir as ir

from onnxwright.graph.coordinates import coordinates
from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_SCATTERS = ("ScatterElements", "ScatterND")


class _Places(NamedTuple):
    """A list of places, and the scatters by which all that comes of it is added to something."""

    rank: int
    scatters: list[ir.Node]


def _rewrite(model: ir.Model) -> int:
    found = {node: places for node in model.graph.all_nodes() if (places := _places(node)) is not None}
    replacing = set()
    for node, places in found.items():
        for scatter in places.scatters:
            is_added = _adds(scatter)
            _mask_updates(node, scatter, left=None if is_added else scatter.inputs[0])
            replacing |= set() if is_added else {scatter}
    for operator in _SCATTERS:
        define_by(model, operator, lambda node: "(x, i, u) => (y) { y = Identity (u) }" if node in replacing else "")
    return define_by(model, "NonZero", lambda node: _every_place(found[node].rank) if node in found else "")


def _places(node: ir.Node) -> _Places | None:
    """Follows a list of places to the scatters by which all that comes of it is written; None where some isn't."""
    mask = node.inputs[0] if node.op_type == "NonZero" and not node.domain else None
    if mask is None or mask.shape is None:
        return None
    followed, scatters = {node.outputs[0]}, list[ir.Node]()
    waiting = [node.outputs[0]]
    while waiting:
        value = waiting.pop()
        if value.is_graph_output():
            return None
        for user, place in value.uses():
            if _is_by_places(user) and place > 0:
                scatters.append(user)
                continue
            waiting += [one for one in user.outputs if one not in followed]
            followed.update(user.outputs)
    rank = len(mask.shape)
    is_whole = all(_is_written(one, rank) and {one.inputs[1], one.inputs[2]} <= followed for one in scatters)
    return _Places(rank, list(dict.fromkeys(scatters))) if scatters and is_whole else None


def _is_by_places(node: ir.Node) -> bool:
    """Whether a node scatters to places that are computed, not those of a constant."""
    indices = node.inputs[1] if node.op_type in _SCATTERS and not node.domain else None
    return indices is not None and ir.convenience.get_const_tensor(indices) is None


def _is_written(node: ir.Node, rank: int) -> bool:
    """Whether rows that are left out can be: they are added, or each row replaces the one at its own place."""
    data = node.inputs[0]
    is_known = data is not None and data.shape is not None and data.dtype is not None
    is_first = node.op_type == "ScatterND" or node.attributes.get_int("axis", 0) == 0
    is_replaced = node.attributes.get_string("reduction", "none") == "none" and rank == 1
    return is_known and is_first and (_adds(node) or is_replaced)


def _adds(node: ir.Node) -> bool:
    return node.attributes.get_string("reduction", "none") == "add"


def _mask_updates(node: ir.Node, scatter: ir.Node, left: ir.Value | None) -> None:
    """Puts what is to be left in the place of rows that the mask leaves out: zeros, unless it is given."""
    updates, data, mask = scatter.inputs[2], scatter.inputs[0], node.inputs[0]
    assert updates is not None, "asked for above"
    assert data is not None, "asked for above"
    graph = scatter.graph
    assert graph is not None, "a node of a graph"
    rank = len(data.shape or ())
    constants = [
        ir.node("Constant", [], {"value": ir.tensor([-1], dtype=ir.DataType.INT64)}),
        ir.node("Constant", [], {"value": ir.tensor(list(range(1, rank)), dtype=ir.DataType.INT64)}),
        ir.node("Constant", [], {"value": ir.tensor(0.0, dtype=data.dtype)}),
    ]
    flat, axes, zero = (one.outputs[0] for one in constants)
    is_true = ir.node("Cast", [mask], {"to": int(ir.DataType.BOOL)})
    rows = ir.node("Reshape", [is_true.outputs[0], flat])
    column = ir.node("Unsqueeze", [rows.outputs[0], axes])
    kept = ir.node("Where", [(column if rank > 1 else rows).outputs[0], updates, zero if left is None else left])
    made = [*constants, is_true, rows, *([column] if rank > 1 else []), kept]
    for one in made:
        one.outputs[0].name = f"{scatter.outputs[0].name}_{one.op_type}_{node.outputs[0].name}_{made.index(one)}"
    graph.insert_before(scatter, made)
    scatter.replace_input_with(2, kept.outputs[0])


def _every_place(rank: int) -> str:
    return f"""(m) => (y) {{
        zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
        start = Constant <value = int64[1] {{0}}> ()
        s = Shape (m) total = ReduceProd <keepdims = 0> (s) every = Range (zero, total, one)
        {coordinates("m", "every", rank)} y = Identity (places)
    }}"""


FIT = Fit(
    name="dense_places",
    summary="Computes every place, not those of a mask alone, where what comes of them is added up.",
    change=_rewrite,
    operators=frozenset({"NonZero"}),
)
