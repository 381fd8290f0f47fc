"""What two graphs differ in: inputs and outputs, operators, opsets, and weights by their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir

from onnxwright.graph.passes import operators
from onnxwright.graph.tied import digest


class Pair(msgspec.Struct, frozen=True):
    """What stands in the first graph and in the second; None where one has nothing of that name."""

    first: str | int | None
    second: str | int | None


class Reweighted(msgspec.Struct, frozen=True):
    """A weight with other numbers; the largest difference where type and shape are the same."""

    name: str
    first: str
    second: str
    error: float | None = None


class Difference(msgspec.Struct, frozen=True):
    """What two graphs differ in, by name; empty where they don't. `same_weights` counts those that are equal."""

    inputs: dict[str, Pair] = {}
    outputs: dict[str, Pair] = {}
    operators: dict[str, Pair] = {}
    opsets: dict[str, Pair] = {}
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: dict[str, str] = {}
    changed: tuple[Reweighted, ...] = ()
    same_weights: int = 0

    def __bool__(self) -> bool:
        parts = (self.inputs, self.outputs, self.operators, self.opsets, self.added, self.removed, self.changed)
        return any(parts) or bool(self.renamed)


def difference(first: ir.Model, second: ir.Model) -> Difference:
    """Tells two graphs apart. A weight that has another name and the same numbers is renamed, not removed and added."""
    one, other = _weights(first), _weights(second)
    digests = ({name: digest(held) for name, held in weights.items()} for weights in (one, other))
    had, has = digests
    gone, new = had.keys() - has.keys(), has.keys() - had.keys()
    found = {has[name]: name for name in sorted(new)}
    renamed = {name: found[had[name]] for name in sorted(gone) if had[name] in found}
    shared = [name for name in had if name in has]
    return Difference(
        inputs=_pairs(_declared(first.graph.inputs), _declared(second.graph.inputs)),
        outputs=_pairs(_declared(first.graph.outputs), _declared(second.graph.outputs)),
        operators=_pairs(operators(first), operators(second)),
        opsets=_pairs(first.opset_imports, second.opset_imports),
        added=tuple(sorted(new - set(renamed.values()))),
        removed=tuple(sorted(gone - renamed.keys())),
        renamed=renamed,
        changed=tuple(_changed(name, one[name], other[name]) for name in shared if had[name] != has[name]),
        same_weights=sum(had[name] == has[name] for name in shared) + len(renamed),
    )


def structure(model: ir.Model) -> str:
    """Returns a text that two graphs share if they are the same but for the names of nodes and values, and their order.

    Weights count by their numbers. It takes time linear in the nodes.
    """
    told: dict[ir.Value, str] = {value: f"input {value.name}" for value in model.graph.inputs}
    for value in model.graph.initializers.values():
        held = value.const_value
        told.setdefault(value, f"weight {digest(held)}" if held is not None else "weight")
    for node in model.graph.all_nodes():
        given = [told.get(value, "outer") if value is not None else "" for value in node.inputs]
        spelled = _hashed(f"{node.domain}::{node.op_type} {given} {_attributes(node)}")
        told |= {value: f"{spelled}.{place}" for place, value in enumerate(node.outputs)}
    kinds = sorted(operators(model).items())
    return _hashed(f"{kinds} {[told.get(value, 'outer') for value in model.graph.outputs]}")


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _attributes(node: ir.Node) -> list[tuple[str, str]]:
    return sorted((name, _spelled(one)) for name, one in node.attributes.items())


def _spelled(attribute: ir.Attr) -> str:
    if attribute.type == ir.AttributeType.TENSOR:
        return digest(attribute.as_tensor())
    is_graph = attribute.type in {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}
    return "graph" if is_graph else repr(attribute.value)


def _weights(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    named = {name: value.const_value for graph in model.graphs() for name, value in graph.initializers.items()}
    return {name: held for name, held in named.items() if held is not None}


def _changed(name: str, first: ir.TensorProtocol, second: ir.TensorProtocol) -> Reweighted:
    is_alike = first.dtype == second.dtype and first.shape == second.shape and first.dtype != ir.DataType.STRING
    error = _largest(first.numpy(), second.numpy()) if is_alike else None
    return Reweighted(name, _kind(first), _kind(second), error)


def _largest(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    if first.dtype == bool:
        return float((first != second).any())
    return float(np.abs(first.astype(np.float64) - second.astype(np.float64)).max(initial=0.0))


def _kind(tensor: ir.TensorProtocol) -> str:
    return f"{tensor.dtype.name.lower()}{list(tensor.shape.numpy())}"


def _declared(values: Sequence[ir.Value]) -> dict[str, str]:
    kinds = {str(value.name): value.dtype.name.lower() if value.dtype else "?" for value in values}
    return {str(value.name): f"{kinds[str(value.name)]}{value.shape or ''}" for value in values}


def _pairs(first: Mapping[str, str | int], second: Mapping[str, str | int]) -> dict[str, Pair]:
    names = dict.fromkeys((*first, *second))
    pairs = {name: Pair(first.get(name), second.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair.first != pair.second}
