"""Numbers that Python computes from sizes, as wide as Python computes with them.

`int(x.shape[1] * 0.29)` is 28 for 100 in Python, and 29 in float32, in which the exporter of `torch.export` writes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

_COMPUTING: Final = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Neg", "Abs", "Floor", "Ceil", "Round", "Mod", "Max", "Min"),
    *("Identity", "Trunc", "Exp", "Log"),
}
_LEADING: Final = _COMPUTING | {"Cast", "Gather", "Squeeze"}
_ASKING: Final = {"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"}


def computed_as_python_does(model: ir.Model, numbers: Iterable[float], names: Collection[str] | None = None) -> int:
    """Has numbers computed from sizes be doubles, and returns how many.

    `names` are the values that stand for such numbers; without them, all that is computed from sizes alone. `numbers`
    are what they are computed with, which the graph holds in float32: where two are one there, what is computed with it
    stays as it is.
    """
    exact = _exact(numbers)
    names = _computed_from_sizes(model) if names is None else names
    wide: dict[ir.Value, ir.Value | None] = {}
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        if node.op_type == "Cast" and not node.domain and _begins(node, names):
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.DOUBLE)
            _widen(node.outputs[0], wide)
        elif any(value in wide for value in node.inputs):
            _follow(node, wide, exact)
    for graph in model.graphs():
        for value in [one for one in graph.outputs if one in wide]:
            _keep_output(graph, value)
    return len(wide)


def _exact(numbers: Iterable[float]) -> dict[np.float32, float]:
    """Each number by what it is in float32, but for those that are one there."""
    found: dict[np.float32, set[float]] = {}
    for number in numbers:
        found.setdefault(np.float32(number), set()).add(float(number))
    return {short: next(iter(several)) for short, several in found.items() if len(several) == 1}


def _computed_from_sizes(model: ir.Model) -> set[str]:
    """The names of the values that nothing but shapes and constants lead to."""
    found = set[ir.Value]()
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        given = [value for value in node.inputs if value is not None]
        others = [value for value in given if value not in found and ir.convenience.get_const_tensor(value) is None]
        if node.op_type == "Shape" or (node.op_type in _LEADING and not others and len(given) > 0):
            found |= set(node.outputs)
    return {value.name for value in found if value.name}


def _begins(node: ir.Node, names: Collection[str]) -> bool:
    """Whether a node makes a float of a size."""
    given, made = node.inputs[0], node.outputs[0]
    is_whole = given is not None and given.dtype in (ir.DataType.INT64, None)
    is_float = node.attributes.get_int("to", 0) == ir.DataType.FLOAT
    return is_whole and is_float and made.name in names and _is_number(made)


def _is_number(value: ir.Value) -> bool:
    """Whether a value has no axes, as far as is known."""
    return value.shape is None or len(value.shape) == 0


def _widen(value: ir.Value, wide: dict[ir.Value, ir.Value | None]) -> None:
    value.dtype = ir.DataType.DOUBLE
    wide[value] = None


def _follow(
    node: ir.Node,
    wide: dict[ir.Value, ir.Value | None],
    exact: Mapping[np.float32, float],
) -> None:
    """Widens what is computed of wide numbers; anything else is handed them as they were."""
    doubles = {value: _double(value, exact) for value in node.inputs if value is not None and value not in wide}
    if node.op_type == "Cast":
        return
    if node.domain or node.op_type not in _COMPUTING | _ASKING or None in doubles.values():
        _replace(node, {value: _narrowed(value, wide) for value in node.inputs if value in wide})
        return
    _replace(node, {value: _constant(node, number) for value, number in doubles.items()})
    if node.op_type not in _ASKING:
        _widen(node.outputs[0], wide)


def _replace(node: ir.Node, replaced: Mapping[ir.Value, ir.Value]) -> None:
    for place, value in enumerate(node.inputs):
        if value is not None and value in replaced:
            node.replace_input_with(place, replaced[value])


def _double(value: ir.Value, exact: Mapping[np.float32, float]) -> float | None:
    """The number that a constant in float32 stands for."""
    held = ir.convenience.get_const_tensor(value)
    if held is None or held.dtype != ir.DataType.FLOAT or held.size != 1:
        return None
    short = np.float32(held.numpy().reshape(()))
    return float(short) if float(short).is_integer() and short not in exact else exact.get(short)


def _constant(node: ir.Node, number: float | None) -> ir.Value:
    assert node.graph is not None, "of a graph"
    tensor = ir.tensor(np.array(number, np.float64))
    made = ir.node("Constant", [], {"value": tensor})
    made.outputs[0].dtype, made.outputs[0].shape = ir.DataType.DOUBLE, ir.Shape([])
    node.graph.insert_before(node, made)
    return made.outputs[0]


def _narrowed(value: ir.Value, wide: dict[ir.Value, ir.Value | None]) -> ir.Value:
    """A wide number in float32, made where it is computed."""
    known = wide[value]
    if known is not None:
        return known
    node = value.producer()
    assert node is not None, "computed in a graph"
    assert node.graph is not None, "computed in a graph"
    cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
    cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, ir.Shape([])
    node.graph.insert_after(node, cast)
    wide[value] = cast.outputs[0]
    return cast.outputs[0]


def _keep_output(graph: ir.Graph, value: ir.Value) -> None:
    """Hands out a wide number in float32, under its own name."""
    node = value.producer()
    assert node is not None, "computed in a graph"
    name, value.name = value.name, f"{value.name}_wide"
    cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
    cast.outputs[0].name, cast.outputs[0].dtype, cast.outputs[0].shape = name, ir.DataType.FLOAT, ir.Shape([])
    graph.append(cast)
    for place, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[place] = cast.outputs[0]
