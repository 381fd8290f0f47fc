"""What two graphs differ in: inputs and outputs, operators, opsets, and weights by their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
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
    """What two graphs differ in, by name; empty where they don't. `same_weights` counts those that are equal.

    `computed` are the outputs that are computed otherwise: of other weights, attributes, or in another order of nodes.
    """

    inputs: dict[str, Pair] = {}
    outputs: dict[str, Pair] = {}
    operators: dict[str, Pair] = {}
    opsets: dict[str, Pair] = {}
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: dict[str, str] = {}
    changed: tuple[Reweighted, ...] = ()
    computed: tuple[str, ...] = ()
    reordered: tuple[str, ...] = ()
    same_weights: int = 0

    def __bool__(self) -> bool:
        graphs = (self.inputs, self.outputs, self.operators, self.opsets, self.computed, self.reordered)
        return any(graphs) or any((self.added, self.removed, self.changed, self.renamed))


def difference(first: ir.Model, second: ir.Model) -> Difference:
    """Tells two graphs apart. A weight that has another name and the same numbers is renamed, not removed and added."""
    one, other = _weights(first), _weights(second)
    digests = ({name: digest(held) for name, held in weights.items()} for weights in (one, other))
    had, has = digests
    gone, new = had.keys() - has.keys(), has.keys() - had.keys()
    found = {has[name]: name for name in sorted(new)}
    renamed = {name: found[had[name]] for name in sorted(gone) if had[name] in found}
    shared = [name for name in had if name in has]
    before, after = _computed(first), _computed(second)
    ends = {"inputs": (first.graph.inputs, second.graph.inputs), "outputs": (first.graph.outputs, second.graph.outputs)}
    return Difference(
        inputs=_pairs(_declared(first.graph.inputs), _declared(second.graph.inputs)),
        outputs=_pairs(_declared(first.graph.outputs), _declared(second.graph.outputs)),
        operators=_pairs(operators(first), operators(second)),
        opsets=_pairs(first.opset_imports, second.opset_imports),
        added=tuple(sorted(new - set(renamed.values()))),
        removed=tuple(sorted(gone - renamed.keys())),
        renamed=renamed,
        changed=tuple(_changed(name, one[name], other[name]) for name in shared if had[name] != has[name]),
        computed=tuple(name for name, text in before.items() if after.get(name, text) != text),
        reordered=tuple(kind for kind, (one_end, other_end) in ends.items() if _is_reordered(one_end, other_end)),
        same_weights=sum(had[name] == has[name] for name in shared) + len(renamed),
    )


def structure(model: ir.Model) -> str:
    """Returns a text that two graphs share if they are the same but for the names of nodes and values, and their order.

    Weights count by their numbers. It takes time linear in the nodes.
    """
    kinds = sorted(operators(model).items())
    return _hashed(f"{kinds} {list(_computed(model).values())}")


def _computed(model: ir.Model) -> dict[str, str]:
    """How each output is computed, by its name: a text that is the same for the same computation of equal inputs."""
    outputs = _Spelling(model).outputs(model.graph, [f"input {value.name}" for value in model.graph.inputs])
    return {str(value.name): text for value, text in zip(model.graph.outputs, outputs, strict=True)}


class _Spelling:
    """Spells what graphs compute: their operators, attributes, weights, what is in branches, loops and functions."""

    def __init__(self, model: ir.Model) -> None:
        self._functions, self._known, self._told = model.functions, dict[Any, str](), dict[ir.Value, str]()

    def outputs(self, graph: ir.Graph | ir.Function, given: Sequence[str]) -> list[str]:
        """How the outputs are computed of what is given, and of what is around a graph."""
        told = self._told
        told.update(zip(graph.inputs, given, strict=True))
        for value in graph.initializers.values() if isinstance(graph, ir.Graph) else ():
            held = value.const_value
            told.setdefault(value, f"weight {digest(held)}" if held is not None else "weight")
        for node in graph:
            taken = [told.get(value, "unknown") if value is not None else "" for value in node.inputs]
            kind = f"{node.domain}::{node.op_type}:{node.overload} {self._function(node)}"
            spelled = _hashed(f"{kind} {taken} {sorted(self._attributes(node))}")
            told |= {value: f"{spelled}.{place}" for place, value in enumerate(node.outputs)}
        return [told.get(value, "unknown") for value in graph.outputs]

    def _function(self, node: ir.Node) -> str:
        """What a function computes that a node calls; nothing of an operator."""
        key = node.op_identifier()
        function = self._functions.get(key)
        if function is not None and key not in self._known:
            self._known[key] = "itself"
            self._known[key] = self._inner(function)
        return self._known.get(key, "")

    def _attributes(self, node: ir.Node) -> Iterator[tuple[str, str]]:
        for name, one in node.attributes.items():
            if one.is_ref():
                yield name, f"told as {one.ref_attr_name}"
            elif one.type == ir.AttributeType.TENSOR:
                yield name, digest(one.as_tensor())
            elif one.type == ir.AttributeType.GRAPH:
                yield name, self._inner(one.as_graph())
            elif one.type == ir.AttributeType.GRAPHS:
                yield name, str([self._inner(graph) for graph in one.as_graphs()])
            else:
                yield name, repr(one.value)

    def _inner(self, graph: ir.Graph | ir.Function) -> str:
        return _hashed(str(self.outputs(graph, [f"inner {place}" for place in range(len(graph.inputs))])))


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_reordered(first: Sequence[ir.Value], second: Sequence[ir.Value]) -> bool:
    names = [[value.name for value in values] for values in (first, second)]
    return names[0] != names[1] and set(names[0]) == set(names[1])


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
