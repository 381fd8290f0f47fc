"""Parts that are picked out of one value by their number, as one split.

A fused projection is taken apart by `qkv.view(batch, sequence, 3, heads, width)` and `.unbind(2)`, or by `[:, :, 0]`,
`[:, :, 1]` and `[:, :, 2]`: a `Gather`, or a `Slice` and a `Squeeze`, for each. The parts lie one after the other in
the projection, so that a `Split` of its last axis gives them without the reshape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxwright.graph.adding import held
from onnxwright.graph.constants import array
from onnxwright.graph.passes import Log
from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.reshapes import spelled
from onnxwright.graph.sizes import Sizes, sizes_of

_SPLIT_BY_INPUT = 13


class _Part(NamedTuple):
    """A value that is one of the parts, which one, and the node that gives it."""

    value: ir.Value
    number: int
    node: ir.Node


def _split_all(model: ir.Model, log: Log) -> int:
    if model.opset_imports.get("", 1) < _SPLIT_BY_INPUT:
        return 0
    count = 0
    for node in list(model.graph):
        whole, axis = node.inputs[0] if node.inputs else None, _new_axis(node)
        if whole is None or axis is None:
            continue
        parts = _parts(node.outputs[0], axis)
        if parts is None or len({part.number for part in parts}) < 2:
            if parts is None:
                log.miss(RULE.name, node, "Something else takes a value inside of the pattern.", node.outputs[0])
            continue
        log.hit(RULE.name, node)
        _split(model.graph, whole, node, axis, parts)
        count += 1
    if count:
        RemoveUnusedNodesPass()(model)
        model.graph.sort()
    return count


def _new_axis(node: ir.Node) -> int | None:
    """The axis that a reshape makes first of a value's last one; None where it does something else."""
    if node.op_type != "Reshape" or node.domain:
        return None
    before, after = sizes_of(node.inputs[0]), sizes_of(node.outputs[0])
    if before is None or after is None or len(after) <= len(before) or None in before[:-1]:
        return None
    axis = len(before) - 1
    sizes = [size for size in after[axis:] if isinstance(size, int)]
    is_last = before[:-1] == after[:axis] and len(sizes) == len(after) - axis
    return axis if is_last and int(np.prod(sizes)) == before[-1] else None


def _parts(value: ir.Value, axis: int) -> list[_Part] | None:
    """What is picked from a value along an axis; None where something else takes it, too."""
    count = int(str((sizes_of(value) or ())[axis]))
    picked = [_picked(user, axis, count) if place == 0 and not user.domain else [] for user, place in value.uses()]
    if value.is_graph_output() or not all(picked):
        return None if any(picked) else []
    return [part for parts in picked for part in parts]


def _picked(user: ir.Node, axis: int, count: int) -> list[_Part]:
    """What a node picks: all parts by a `Split` in so many, squeezed; else one."""
    rank = len(sizes_of(user.inputs[0]) or ())
    if user.op_type == "Split" and user.attributes.get_int("axis", 0) % rank == axis:
        squeezed = [_squeezed(output, axis) for output in user.outputs]
        return [_Part(one, number, _node(one)) for number, one in enumerate(squeezed) if one] if all(squeezed) else []
    given = [array(one) for one in user.inputs[1:]]
    if not given or any(one is None or one.size != 1 for one in given):
        return []
    numbers = [int(one.reshape(-1)[0]) for one in given if one is not None]
    if user.op_type == "Gather" and user.attributes.get_int("axis", 0) % rank == axis and given[0] is not None:
        return [_Part(user.outputs[0], numbers[0] % count, user)] if given[0].ndim == 0 else []
    if user.op_type != "Slice" or len(numbers) < 3 or numbers[2] % rank != axis or numbers[3:] not in ([], [1]):
        return []
    start, end, value = numbers[0] % count, min(numbers[1], count), _squeezed(user.outputs[0], axis)
    return [_Part(value, start, _node(value))] if end - start == 1 and value is not None else []


def _squeezed(value: ir.Value, axis: int) -> ir.Value | None:
    """A value of one part without its axis, where nothing else takes it."""
    users, sizes = [user for user, _ in value.uses()], sizes_of(value) or ()
    if len(users) != 1 or users[0].op_type != "Squeeze" or value.is_graph_output() or sizes[axis] != 1:
        return None
    (squeezed,) = users[0].outputs
    return squeezed if sizes_of(squeezed) == (*sizes[:axis], *sizes[axis + 1 :]) else None


def _node(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None, "a node picked it"
    return node


def _split(graph: ir.Graph, whole: ir.Value, node: ir.Node, axis: int, parts: list[_Part]) -> None:
    sizes = sizes_of(node.outputs[0]) or ()
    count, name = int(str(sizes[axis])), f"{node.name or node.outputs[0].name}_parts"
    width = int(np.prod([int(str(size)) for size in sizes[axis + 1 :]]))
    widths = _held(graph, f"{name}_widths", [width] * count)
    split = ir.node("Split", [whole, widths], {"axis": -1}, num_outputs=count, name=name)
    for output in split.outputs:
        output.type, output.shape = whole.type, ir.Shape([*sizes[:axis], width])
    made = [split]
    for place, part in enumerate(parts):
        shape = spelled((*sizes[:axis], width), (*sizes[:axis], *sizes[axis + 1 :]))
        assert shape is not None, "all but the sizes before the axis have numbers"
        target = _held(graph, f"{name}_{place}_shape", shape)
        reshaped = ir.node("Reshape", [split.outputs[part.number], target], name=f"{name}_{place}")
        reshaped.outputs[0].type, reshaped.outputs[0].shape = part.value.type, part.value.shape
        made.append(reshaped)
    old, new = [part.value for part in parts], [one.outputs[0] for one in made[1:]]
    ir.convenience.replace_nodes_and_values(graph, node, [part.node for part in parts], made, old, new)


def _held(graph: ir.Graph, name: str, numbers: Sizes | list[int]) -> ir.Value:
    return held(graph, ir.tensor(np.array(numbers, np.int64), name=name))


RULE = Rule(
    name="indexed-parts",
    group="merge",
    summary="Splits a value once where its parts are picked one by one.",
    change=_split_all,
)
