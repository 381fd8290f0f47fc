"""Which nodes of a graph compute sizes: nothing goes into them but shapes, constants, and what is made of these.

Engines for GPUs compute those on the CPU on purpose, where sizes are needed.
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from onnxwright.files import graph_in, read
from onnxwright.wire import Field, text, texts, within

_TELLING_SIZES: Final = frozenset({"Shape", "Size"})
# Numbers of fields, as in `onnx.proto`.
_NODE, _INITIALIZER, _INPUT, _SPARSE = 1, 5, 11, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_TENSOR_NAME, _VALUE_NAME, _SPARSE_VALUES = 8, 1, 1
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11


class _Node(NamedTuple):
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    operator: str
    bodies: tuple[_Graph, ...]


class _Graph(NamedTuple):
    nodes: tuple[_Node, ...]
    inputs: frozenset[str]
    constants: frozenset[str]


class Sized(NamedTuple):
    """The nodes of a graph that compute sizes, in branches and loops too, by name; their operators; the other nodes."""

    names: frozenset[str]
    operators: frozenset[str]
    others: frozenset[str]

    def has(self, operator: str, name: str) -> bool:
        """Whether a node computes a size; one that the file doesn't name, as an engine makes some, by its operator."""
        return name in self.names or (name not in self.others and operator in self.operators)


def sized(file: Path) -> Sized:
    """Finds the nodes of an ONNX file that compute sizes. Weights are skipped over.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    found = list(_told(read(file, lambda content: _graph(content, graph_in(content))), frozenset()))
    return Sized(
        frozenset(node.name for node, is_sized in found if is_sized and node.name),
        frozenset(node.operator for node, is_sized in found if is_sized),
        frozenset(node.name for node, is_sized in found if not is_sized and node.name),
    )


def _told(graph: _Graph, outer: frozenset[str]) -> Iterator[tuple[_Node, bool]]:
    """Each node, and whether it computes a size."""
    known = set(outer | graph.constants)
    for node in graph.nodes:
        is_sized = node.operator in _TELLING_SIZES or known.issuperset({*node.inputs, *_captured(node)})
        if is_sized:
            known.update(node.outputs)
        yield node, is_sized
        for body in node.bodies:
            yield from _told(body, frozenset(known | body.inputs if is_sized else known))


def _captured(node: _Node) -> Iterator[str]:
    """The values from outside that the branches of a node, or the body of a loop, read."""
    for body in node.bodies:
        inside = (body.inputs | body.constants).union(*(one.outputs for one in body.nodes))
        for one in body.nodes:
            yield from (name for name in (*one.inputs, *_captured(one)) if name not in inside)


def _graph(content: mmap.mmap, graph: Field) -> _Graph:
    constants = {text(content, one, _TENSOR_NAME) for one in within(content, graph, _INITIALIZER)}
    for sparse in within(content, graph, _SPARSE):
        constants |= {text(content, one, _TENSOR_NAME) for one in within(content, sparse, _SPARSE_VALUES)}
    nodes = tuple(_node(content, one) for one in within(content, graph, _NODE))
    inputs = frozenset(text(content, one, _VALUE_NAME) for one in within(content, graph, _INPUT))
    return _Graph(nodes, inputs, frozenset({*constants, ""}))


def _node(content: mmap.mmap, node: Field) -> _Node:
    told = functools.partial(texts, content, node)
    graphs = (
        one
        for attribute in within(content, node, _NODE_ATTRIBUTE)
        for number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS)
        for one in within(content, attribute, number)
    )
    return _Node(
        tuple(told(_NODE_INPUT)),
        tuple(told(_NODE_OUTPUT)),
        text(content, node, _NODE_NAME),
        text(content, node, _NODE_OPERATOR),
        tuple(_graph(content, one) for one in graphs),
    )
