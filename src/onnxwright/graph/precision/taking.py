"""What ONNX lets a node take and give in a lower type: asked of its schemas, for the graph's opset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import onnx
import onnx_ir as ir

from onnxwright.graph.precision.formats import FLOAT

_KNOWN_DOMAINS: Final = {"", "ai.onnx.ml"}
_TYPE_ATTRIBUTES: Final = ("to", "dtype", "output_datatype", "output_dtype")
"""Attributes that hold the type of what a node gives."""


@dataclass(frozen=True)
class Places:
    """The numbers of the float32 inputs and outputs of a node that may have the lower type, all of them at once.

    `typed_by` is the attribute that has to name the lower type then, where the inputs don't decide.
    """

    inputs: frozenset[int] = frozenset()
    outputs: frozenset[int] = frozenset()
    typed_by: str | None = None

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs)


def places(node: ir.Node, opsets: Mapping[str, int], lower: ir.DataType) -> Places:
    """Returns where a node may have a lower type; nowhere for operators that ONNX doesn't define."""
    schema = schema_of(node, opsets)
    if schema is None:
        return Places()
    taken = _named(schema.inputs, node.inputs)
    given = _named(schema.outputs, node.outputs)
    spelled = f"tensor({lower.name.lower()})"
    inputs = {place: name for place, (name, types) in taken.items() if spelled in types}
    outputs = {place: name for place, (name, types) in given.items() if spelled in types}
    bound = {formal.type_str for formal in schema.inputs}
    free = {place for place, name in outputs.items() if name not in bound}
    typed_by = _typed_by(node, schema) if free else None
    if free and typed_by is None:
        outputs = {place: name for place, name in outputs.items() if place not in free}
        if not outputs:
            return Places()
    return Places(frozenset(inputs), frozenset(outputs), typed_by)


def schema_of(node: ir.Node, opsets: Mapping[str, int]) -> Any:
    """Returns what ONNX says of a node's operator, None where it doesn't define it."""
    version = node.version or opsets.get(node.domain)
    if node.domain not in _KNOWN_DOMAINS or version is None:
        return None
    if not onnx.defs.has(node.op_type, version, node.domain):
        return None
    return onnx.defs.get_schema(node.op_type, version, node.domain)


def _named(formals: Sequence[Any], values: Iterable[ir.Value | None]) -> dict[int, tuple[str, set[str]]]:
    """The name of the type, and the types that it may stand for, of each value that is float32."""
    of = {place: formals[min(place, len(formals) - 1)] for place, value in enumerate(values) if _is_float(value)}
    return {place: (formal.type_str, formal.types) for place, formal in of.items()}


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == FLOAT


def _typed_by(node: ir.Node, schema: Any) -> str | None:
    """The attribute that says that a node gives float32."""
    if node.op_type == "ConstantOfShape":
        return "value"
    for name in _TYPE_ATTRIBUTES:
        if name in schema.attributes:
            default = schema.attributes[name].default_value.i
            return name if node.attributes.get_int(name, default) == FLOAT else None
    return None
