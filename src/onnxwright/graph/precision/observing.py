"""How large the numbers are that a graph computes on the way: measured by the graph itself, which answers little."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.backends import Session, Tensors
from onnxwright.errors import UsageError
from onnxwright.graph.adding import held
from onnxwright.graph.passes import cloned
from onnxwright.graph.precision.formats import FLOAT
from onnxwright.graph.typed import infer_types

SUFFIX: Final = "/range"
"""How an output is called that tells the range of a value, after the value's name."""
LEAST: Final = 2.0**-24
"""The least number of float16 that isn't 0."""
_NONE: Final = 3.0e38
"""Stands for "no such element" in what is answered: the engines' own infinities aren't to be relied on."""


@dataclass(frozen=True)
class Range:
    """What was seen of a value: its largest and its least finite magnitude but 0, and the shares of odd elements.

    `largest` is 0 and `least` infinite where nothing but zeros was seen. `vanishing` is the largest share of elements
    that float16 would make 0 though they aren't, `not_finite` that of NaN and infinities, which count nowhere else.
    """

    largest: float
    least: float
    vanishing: float
    not_finite: float
    size: int

    def and_then(self, other: Range) -> Range:
        """Returns what was seen of the value in both."""
        return Range(
            max(self.largest, other.largest),
            min(self.least, other.least),
            max(self.vanishing, other.vanishing),
            max(self.not_finite, other.not_finite),
            max(self.size, other.size),
        )


@dataclass(frozen=True)
class Ranges:
    """The ranges of values, by name, over so many samples."""

    by_name: Mapping[str, Range]
    samples: int

    def of(self, value: ir.Value | None) -> Range | None:
        """Returns the range of a value, None where it was not observed."""
        return None if value is None else self.by_name.get(value.name or "")


def observed(model: ir.Model) -> ir.Model:
    """Returns a copy that also answers a row for each float32 value that goes in or is computed outside of branches.

    The row of the value `x` is the output `x/range`; `ranges` reads it. The copy shares the weights.
    """
    copy = cloned(model)
    infer_types(copy)
    graph = copy.graph
    numbers = {name: _constant(graph, name, number) for name, number in _NUMBERS.items()}
    for value in list(_watched(graph)):
        nodes = _observers(value, numbers)
        graph.extend(nodes)
        graph.outputs.append(nodes[-1].outputs[0])
    return copy


def ranges(session: Session, feeds: Iterable[Tensors]) -> Ranges:
    """Runs what `observed` made on samples, and returns the ranges over all of them.

    Raises:
        UsageError: when there are no samples.
    """
    found: dict[str, Range] = {}
    count = 0
    for count, one in enumerate(feeds, start=1):  # noqa: B007 - how many there were is told
        for name, row in session.run(one).items():
            if name.endswith(SUFFIX):
                value, seen = name.removesuffix(SUFFIX), _read(row)
                found[value] = found[value].and_then(seen) if value in found else seen
    if not count:
        raise UsageError("the ranges of values are measured on samples, and there are none. Give at least one.")
    return Ranges(found, count)


_NUMBERS: Final = {"zero": 0.0, "least": LEAST, "none": _NONE, "infinity": math.inf}


def _constant(graph: ir.Graph, name: str, number: float) -> ir.Value:
    return held(graph, ir.tensor(np.array([number], np.float32), name=f"onnxwright{SUFFIX}/{name}"))


def _watched(graph: ir.Graph) -> Iterator[ir.Value]:
    computed = (value for node in graph if node.op_type != "Constant" for value in node.outputs)
    yield from (value for value in (*graph.inputs, *computed) if value.name and value.type == ir.TensorType(FLOAT))


def _observers(value: ir.Value, numbers: Mapping[str, ir.Value]) -> list[ir.Node]:
    """Nodes that reduce a value to a row: largest, least, share that vanishes, share that isn't finite, and size.

    A zero is put beside the elements, since engines reduce nothing to anything.
    """
    nodes: list[ir.Node] = []

    def make(kind: str, *inputs: ir.Value, **attributes: int | ir.TensorProtocol) -> ir.Value:
        node = ir.node(kind, inputs, attributes=attributes, name=f"{value.name}{SUFFIX}/{len(nodes)}")
        node.outputs[0].name = f"{node.name}_output"
        nodes.append(node)
        return node.outputs[0]

    def share(chosen: ir.Value) -> ir.Value:
        return make("ReduceMean", make("Cast", chosen, to=int(FLOAT)), keepdims=1)

    row = make("Constant", value=ir.tensor(np.array([-1], np.int64)))
    flat = make("Concat", make("Reshape", value, row), numbers["zero"], axis=0)
    magnitude = make("Abs", flat)
    is_finite = make("Less", magnitude, numbers["infinity"])
    finite = make("Where", is_finite, magnitude, numbers["zero"])
    is_something = make("Greater", finite, numbers["zero"])
    something = make("Where", is_something, finite, numbers["none"])
    columns = [
        make("ReduceMax", finite, keepdims=1),
        make("ReduceMin", something, keepdims=1),
        share(make("Less", something, numbers["least"])),
        share(make("Not", is_finite)),
        make("Cast", make("Shape", flat), to=int(FLOAT)),
    ]
    seen = make("Concat", *columns, axis=0)
    seen.name, seen.dtype, seen.shape = f"{value.name}{SUFFIX}", FLOAT, ir.Shape([len(columns)])
    return nodes


def _read(row: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Range:
    largest, least, vanishing, not_finite, size = (float(number) for number in row)
    return Range(largest, least if least < _NONE else math.inf, vanishing, not_finite, int(size) - 1)
