"""Numbers that stand for places rather than for what a model has learned: whole numbers, and angles made of them.

`position_ids.float()`, buckets of distances, the angles of rotary embeddings: they are computed of whole numbers and a
vector of constants. Rounded, they are other places.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.cutting import bodies
from onnxwright.graph.precision.formats import FLOAT, Format
from onnxwright.graph.precision.observing import Ranges
from onnxwright.graph.precision.weighing import constant

_TURNING: Final = {"Sin", "Cos", "Tan"}
_LARGEST_ANGLE: Final = {"float16": 8.0, "bfloat16": 1.0}
"""Up to which angles the type rounds by no more than it does elsewhere, a few units of the last place of 1."""


def positions(model: ir.Model, format_: Format, ranges: Ranges) -> dict[ir.Node, str]:
    """Returns the nodes that compute places, with why they need float32."""
    of_places = _computed_of_places(model)
    found: dict[ir.Node, str] = {}
    for node in model.graph:
        reason = _need(node, of_places, format_, ranges)
        for one in _before(node, of_places) if reason else ():
            found.setdefault(one, f"computes places: what comes of it {reason}")
        if reason:
            found.setdefault(node, reason)
        for user in _after(node) if reason and node in of_places else ():
            found.setdefault(user, f"takes '{node.outputs[0].name}', which {reason}")
    return found


def _computed_of_places(model: ir.Model) -> set[ir.Node]:
    """The nodes that make floats of whole numbers, sizes, and constants that are vectors at most."""
    found: set[ir.Node] = set()
    for node in model.graph:
        gives = any(value.dtype == FLOAT for value in node.outputs)
        if gives and not list(bodies(node)) and all(_is_of_places(value, found) for value in node.inputs):
            found.add(node)
    return found


def _is_of_places(value: ir.Value | None, found: set[ir.Node]) -> bool:
    if value is None:
        return True
    if value.dtype is None or not value.dtype.is_floating_point():
        return value.dtype is not None
    tensor = constant(value)
    if tensor is not None:
        return sum(size != 1 for size in tensor.shape.numpy()) <= 1
    return value.dtype == FLOAT and value.producer() in found


def _need(node: ir.Node, of_places: set[ir.Node], format_: Format, ranges: Ranges) -> str:
    """Why a node has to be handed exact numbers, if so."""
    value = node.inputs[0] if node.inputs else None
    if node.domain or value is None or value.dtype != FLOAT:
        return _count(node, of_places, format_, ranges)
    seen = ranges.of(value)
    if node.op_type in _TURNING:
        limit = _LARGEST_ANGLE[format_.name]
        if seen is None and value.producer() in of_places:
            return f"is an angle, and how large isn't known: {format_.name} loses those of a few turns"
        if seen is not None and seen.largest > limit:
            return f"is an angle of up to {seen.largest:.6g}, of which {format_.name} loses what counts"
    is_whole = node.outputs[0].dtype is not None and node.outputs[0].dtype.is_integer()
    if node.op_type == "Cast" and is_whole and value.producer() in of_places:
        return "becomes a whole number again, which rounding would make another one"
    return ""


def _count(node: ir.Node, of_places: set[ir.Node], format_: Format, ranges: Ranges) -> str:
    """Why a node that makes floats of whole numbers has to stay, if so."""
    seen = ranges.of(node.outputs[0]) if node.outputs else None
    if node not in of_places or node.op_type != "Cast" or seen is None or seen.largest <= format_.whole:
        return ""
    return f"counts to {seen.largest:.6g} on the samples, {format_.name} only to {format_.whole}"


def _after(node: ir.Node) -> list[ir.Node]:
    """What takes the whole numbers that a node makes floats of."""
    return [user for user, _ in node.outputs[0].uses()] if node.op_type == "Cast" else []


def _before(node: ir.Node, of_places: set[ir.Node]) -> list[ir.Node]:
    """What of places is computed for a node."""
    waiting, found = [node], dict[ir.Node, None]()
    while waiting:
        for value in waiting.pop().inputs:
            giver = None if value is None or value.dtype != FLOAT else value.producer()
            if giver is not None and giver in of_places and giver not in found:
                found[giver] = None
                waiting.append(giver)
    return list(found)
