"""Whether two values of a graph are computed alike, so that they are always equal."""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.cutting import bodies
from onnxwright.graph.tied import digest

_DRAWING = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}


def is_alike(one: ir.Value | None, other: ir.Value | None) -> bool:
    """Returns whether the same operators compute two values from the same ones; False where that can't be told."""
    one, other = _handed_on(one), _handed_on(other)
    if one is other:
        return True
    if one is None or other is None:
        return False
    first, second = one.producer(), other.producer()
    if first is None or second is None:
        return _is_same_constant(one, other)
    return one.index() == other.index() and _is_same_call(first, second)


def _handed_on(value: ir.Value | None) -> ir.Value | None:
    """What an `Identity` gives is what it takes."""
    while value is not None and (node := value.producer()) is not None and node.op_type == "Identity":
        value = node.inputs[0]
    return value


def _is_same_constant(one: ir.Value, other: ir.Value) -> bool:
    first, second = one.const_value, other.const_value
    if one.is_graph_input() or other.is_graph_input() or first is None or second is None:
        return False
    return digest(first) == digest(second)


def _is_same_call(one: ir.Node, other: ir.Node) -> bool:
    if one is other:
        return True
    if (one.domain, one.op_type) != (other.domain, other.op_type) or one.op_type in _DRAWING:
        return False
    if any(bodies(one)) or len(one.inputs) != len(other.inputs) or not _has_same_attributes(one, other):
        return False
    return all(is_alike(first, second) for first, second in zip(one.inputs, other.inputs, strict=True))


def _has_same_attributes(one: ir.Node, other: ir.Node) -> bool:
    if one.attributes.keys() != other.attributes.keys():
        return False
    pairs = ((attribute, other.attributes[name]) for name, attribute in one.attributes.items())
    return all(first.type == second.type and _plain(first) == _plain(second) for first, second in pairs)


def _plain(attribute: ir.Attr) -> object:
    return digest(attribute.as_tensor()) if attribute.type == ir.AttributeType.TENSOR else attribute.value
