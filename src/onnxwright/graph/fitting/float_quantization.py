"""Computes in floats what is quantized in a way that TensorRT doesn't take: unsigned, with a zero point, dynamically.

`quantize_dynamic` of ONNX Runtime leaves `DynamicQuantizeLinear` and `MatMulInteger`, `quantize_static` an unsigned
`QuantizeLinear` with a zero point. Floats hold the same whole numbers, so that the answers stay the same; nothing of it
is faster than floats are. TensorRT itself would take unsigned numbers for signed ones with no more than a warning.

Weights whose zero point is the middle of their range become signed ones, which is the same and stays quantized.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx_ir as ir

from onnxwright.graph.adding import held
from onnxwright.graph.constants import array
from onnxwright.graph.defining import define_by, written
from onnxwright.graph.fitting import Fit
from onnxwright.graph.linting import unfit

_INTEGER: Final = ("MatMulInteger", "ConvInteger")
_FOLLOWS: Final = {*_INTEGER, "DequantizeLinear"}
_RANGES: Final = {ir.DataType.UINT8: (0, 255), ir.DataType.INT8: (-128, 127)}
_DYNAMIC: Final = """(x) => (y, scale, zero) {
    o = Constant <value = float {0}> () top = Constant <value = float {255}> () one = Constant <value = float {1}> ()
    l = ReduceMin <keepdims = 0> (x) low = Min (l, o) h = ReduceMax <keepdims = 0> (x) high = Max (h, o)
    span = Sub (high, low) s = Div (span, top) isflat = Equal (span, o) scale = Where (isflat, one, s)
    m = Div (low, scale) n = Sub (o, m) c = Clip (n, o, top) zero = Round (c)
    d = Div (x, scale) r = Round (d) a = Add (r, zero) y = Clip (a, o, top)
}"""


def _rewrite(model: ir.Model) -> int:
    count = sum(_sign(node) for node in model.graph.all_nodes() if node.op_type == "DequantizeLinear")
    texts = {node: _TEXTS[node.op_type](node) for node in model.graph.all_nodes() if _is_unfit(node)}
    for node in texts:
        for value in node.outputs:
            if value.dtype in _RANGES or node.op_type in _INTEGER:
                value.type = ir.TensorType(ir.DataType.FLOAT)
        _with_floats(node)
    for operator in _TEXTS:
        count += define_by(model, operator, lambda node: texts.get(node, ""))
    return count


def _is_unfit(node: ir.Node) -> bool:
    """Whether a node quantizes, or takes what is quantized, in a way that isn't taken, and can be done in floats."""
    if node.domain or node.op_type not in {*_FOLLOWS, "QuantizeLinear", "DynamicQuantizeLinear"}:
        return False
    if node.op_type in _FOLLOWS:
        giver = None if node.inputs[0] is None else node.inputs[0].producer()
        return node.op_type in _INTEGER or any(unfit(node)) or (giver is not None and _is_unfit(giver))
    users = [user for user, _ in node.outputs[0].uses()]
    is_followed = all(user.op_type in _FOLLOWS for user in users) and not node.outputs[0].is_graph_output()
    is_known = node.outputs[0].dtype in _RANGES
    return is_followed and is_known and (node.op_type == "DynamicQuantizeLinear" or any(unfit(node)))


def _sign(node: ir.Node) -> int:
    """Makes unsigned constants with the middle of their range as zero point signed ones."""
    if len(node.inputs) < 3:
        return 0
    weight, zero = (array(node.inputs[place]) for place in (0, 2))
    if weight is None or zero is None or weight.dtype != np.uint8 or not np.all(zero == 128):
        return 0
    for place, numbers in ((0, weight), (2, zero)):
        _put(node, place, (numbers.astype(np.int16) - 128).astype(np.int8), ir.DataType.INT8)
    return 1


def _with_floats(node: ir.Node) -> None:
    """Gives a node its constants of whole numbers as floats, those of an axis with the axes after it."""
    for place, value in enumerate(node.inputs):
        numbers = array(value)
        if numbers is None or value is None:
            continue
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"} and place and numbers.size > 1:
            numbers = _along(node, numbers)
        elif node.op_type == "ConvInteger" and place == 3 and numbers.size > 1:
            numbers = numbers.reshape([-1, *[1] * (_rank(node.inputs[1]) - 1)])
        elif numbers.size == 1 and place > 1:
            numbers = numbers.reshape(())
        if numbers.dtype != np.float32 or numbers.shape != tuple(value.shape or ()):
            _put(node, place, numbers.astype(np.float32), ir.DataType.FLOAT)


def _along(node: ir.Node, numbers: Any) -> Any:
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is None:
        return numbers
    axis = node.attributes.get_int("axis", 1) % len(shape)
    return numbers.reshape([-1, *[1] * (len(shape) - axis - 1)])


def _rank(value: ir.Value | None) -> int:
    return 0 if value is None or value.shape is None else len(value.shape)


def _put(node: ir.Node, place: int, numbers: Any, kind: ir.DataType) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph), "a node of a graph"
    given = node.inputs[place]
    name = f"{given.name if given is not None else place}_{node.name or node.outputs[0].name}_{place}_as_{kind.name}"
    node.replace_input_with(place, held(graph, ir.tensor(numbers, kind, name=name)))


def _quantized(node: ir.Node) -> str:
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    low, high = _RANGES[node.outputs[0].dtype or ir.DataType.UINT8]
    inputs, shifted = ("x, s, z", "a = Add (r, z)") if zero is not None else ("x, s", "a = Identity (r)")
    return (
        f"({inputs}) => (y) {{ d = Div (x, s) r = Round (d) {shifted} low = Constant <value = float {{{low}}}> () "
        f"high = Constant <value = float {{{high}}}> () y = Clip (a, low, high) }}"
    )


def _dequantized(node: ir.Node) -> str:
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return "(q, s, z) => (y) { f = Cast <to = 1> (q) d = Sub (f, z) y = Mul (d, s) }"
    return "(q, s) => (y) { f = Cast <to = 1> (q) y = Mul (f, s) }"


def _multiplied(node: ir.Node) -> str:
    parts, zeros = ["f = Cast <to = 1> (a) g = Cast <to = 1> (b)"], ["f", "g"]
    given = ["a", "b"]
    for place, (name, out) in enumerate((("az", "h"), ("bz", "i"))):
        value = node.inputs[place + 2] if len(node.inputs) > place + 2 else None
        if value is not None:
            given.append(name)
            parts.append(f"{name}f = Cast <to = 1> ({name}) {out} = Sub ({zeros[place]}, {name}f)")
            zeros[place] = out
    return f"({', '.join(given)}) => (y) {{ {' '.join(parts)} y = {_product(node)} ({zeros[0]}, {zeros[1]}) }}"


def _product(node: ir.Node) -> str:
    if node.op_type == "MatMulInteger":
        return "MatMul"
    return f"Conv <{written(node)}>" if node.attributes else "Conv"


_TEXTS: Final = {
    "DynamicQuantizeLinear": lambda _: _DYNAMIC,
    "QuantizeLinear": _quantized,
    "DequantizeLinear": _dequantized,
    "MatMulInteger": _multiplied,
    "ConvInteger": _multiplied,
}

FIT = Fit(
    name="float_quantization",
    summary="Computes in floats what is quantized dynamically, unsigned or with a zero point.",
    change=_rewrite,
    operators=frozenset({*_TEXTS}),
    words=("Non-zero zero point", "UINT8", "zero_point"),
)
