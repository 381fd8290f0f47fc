"""Casts where an operator is handed a type that it doesn't take, or that an engine doesn't have it for."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from typing import Final

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

_BOOL, _INT64 = ir.DataType.BOOL, ir.DataType.INT64
_LOGICAL: Final = {"Not": (0,), "And": (0, 1), "Or": (0, 1), "Xor": (0, 1), "If": (0,), "Where": (0,)}
"""Operators that take bools, by the numbers of these inputs."""
_MOST_STEPS: Final = 64
_WITHOUT_BOOLS: Final = {"CumSum": 0, "Mul": None, "Add": None, "Sub": None, "ReduceSum": 0, "MatMul": None}
"""Operators that don't take bools: in which input; None stands for all of them."""
_COMPARING: Final = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not", "And", "Or", "Xor", "IsNaN"}
_KEEPING: Final = {
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Expand", "Tile"),
    *("Neg", "Abs", "Add", "Sub", "Mul", "ReduceMin", "ReduceMax", "ReduceSum", "ReduceProd", "Min", "Max"),
    *("Concat", "Clip"),
}
"""Operators that answer the type of their first input."""


_WIDER: Final = {
    **dict.fromkeys((ir.DataType.FLOAT16, ir.DataType.BFLOAT16), ir.DataType.FLOAT),
    **dict.fromkeys((ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32), ir.DataType.INT64),
    **dict.fromkeys((ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.BOOL), ir.DataType.INT64),
}
"""Types that hold all that narrower ones do, and that engines have the most operators for."""


_SUMMING: Final = {
    *("MatMul", "Gemm", "Softmax", "LogSoftmax", "LayerNormalization", "ReduceMean", "ReduceSum", "ReduceSumSquare"),
    *("ReduceL2", "ReduceLogSumExp", "CumSum", "Einsum"),
}
"""Operators whose rounding depends on the order in which they add, and that ONNX Runtime has in float64."""


def mended_types(model: ir.Model) -> int:
    """Inserts casts before operators whose inputs have types that ONNX doesn't allow them, and returns how many."""
    count = 0
    for graph in list(model.graphs()):
        for node in list(graph):
            for place, kind in _wrong(node).items():
                value = node.inputs[place]
                assert value is not None, "it has a type"
                cast = _cast(value, kind, f"{node.name}/cast_{place}")
                graph.insert_before(node, cast)
                node.replace_input_with(place, cast.outputs[0])
                count += 1
                if node.op_type in _WITHOUT_BOOLS:
                    node.outputs[0].dtype = kind
    return count


def _wrong(node: ir.Node) -> Mapping[int, ir.DataType]:
    """The inputs of a node that have a type it doesn't take, each with one that it does."""
    types = [_type(value) for value in node.inputs]
    if node.op_type in _LOGICAL:
        return {place: _BOOL for place in _LOGICAL[node.op_type] if types[place] not in {None, _BOOL}}
    if node.op_type not in _WITHOUT_BOOLS:
        return {}
    only = _WITHOUT_BOOLS[node.op_type]
    places = range(len(types)) if only is None else (only,)
    others = {kind for kind in types if kind not in {None, _BOOL}}
    wanted = others.pop() if only is None and len(others) == 1 else _INT64
    return {place: wanted for place in places if types[place] is _BOOL}


def _type(value: ir.Value | None) -> ir.DataType | None:
    """The type of a value as it is declared, or as the nodes before it tell: inference stops at what is not allowed."""
    for _ in range(_MOST_STEPS):
        if value is None or value.dtype is not None:
            break
        producer = value.producer()
        if producer is None:
            break
        if producer.op_type in _COMPARING:
            return _BOOL
        if producer.op_type in {"Cast", "Constant"}:
            return _declared(producer)
        value = producer.inputs[0] if producer.op_type in _KEEPING else None
    return value.dtype if value is not None else None


def _declared(node: ir.Node) -> ir.DataType | None:
    """The type that a `Cast` casts to, or of a `Constant`'s tensor."""
    if "to" in node.attributes:
        return ir.DataType(node.attributes.get_int("to"))
    tensor = node.attributes["value"].as_tensor() if "value" in node.attributes else None
    return tensor.dtype if tensor is not None else None


def sum_in_float64(model: ir.Model) -> int:
    """Computes what adds up many numbers in float64, rounds what it answers, and returns how many nodes do so."""
    return widen(model, _SUMMING, {ir.DataType.FLOAT: ir.DataType.DOUBLE})


def widen(
    model: ir.Model,
    operators: Collection[str],
    wider: Mapping[ir.DataType, ir.DataType] = types.MappingProxyType(_WIDER),
) -> int:
    """Computes nodes of these operators in wider types than narrow ones, and returns how many there were."""
    ShapeInferencePass()(model)
    count = 0
    for graph in list(model.graphs()):
        for node in [one for one in graph if one.op_type in operators]:
            inputs = {
                place: value
                for place, value in enumerate(node.inputs)
                if value is not None and value.dtype in wider and place not in _LOGICAL.get(node.op_type, ())
            }
            narrow = {value.dtype for value in inputs.values()}
            if not narrow:
                continue
            count += 1
            for place, value in inputs.items():
                assert value.dtype is not None, "it is a narrow one"
                cast = _cast(value, wider[value.dtype], f"{node.name}/widened_{count}_{place}")
                graph.insert_before(node, cast)
                node.replace_input_with(place, cast.outputs[0])
            for place, value in enumerate(node.outputs) if node.op_type not in _COMPARING else ():
                if value.dtype is not None and value.dtype in narrow:
                    _narrow_again(graph, node, value, wider[value.dtype], f"{node.name}/narrowed_{count}_{place}")
    return count


def _narrow_again(graph: ir.Graph, node: ir.Node, value: ir.Value, wide: ir.DataType, name: str) -> None:
    """Has all that takes a value take it in the type that it had."""
    assert value.dtype is not None
    narrow, own = value.dtype, value.name
    cast = _cast(value, narrow, name)
    value.replace_all_uses_with(cast.outputs[0], replace_graph_outputs=True)
    cast.replace_input_with(0, value)
    graph.insert_after(node, cast)
    value.dtype, value.name = wide, f"{name}_input"
    cast.outputs[0].name, cast.outputs[0].shape = own, value.shape


def _cast(value: ir.Value, kind: ir.DataType, name: str) -> ir.Node:
    cast = ir.node("Cast", [value], attributes={"to": int(kind)}, name=name)
    cast.outputs[0].name, cast.outputs[0].dtype = f"{name}_output", kind
    return cast
