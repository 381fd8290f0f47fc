"""Writes operators on quantized numbers (`QLinearConv`, …) as floats between `DequantizeLinear` and `QuantizeLinear`.

`quantize_static` of ONNX Runtime leaves them with `QuantFormat.QOperator`, in ONNX's domain and in its own. TensorRT
takes the pairs where they are signed and symmetric; what isn't is for `float_quantization` then.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by, written
from onnxwright.graph.fitting import Fit
from onnxwright.graph.targets import CONTRIB

_ENDS: Final = "y = QuantizeLinear (f, ys, yz)"
_ONE: Final = "d = DequantizeLinear (x, xs, xz)"
_TWO: Final = "d = DequantizeLinear (a, as, az) e = DequantizeLinear (b, bs, bz)"


def _rewrite(model: ir.Model) -> int:
    count = sum(define_by(model, operator, write) for operator, write in _PLAIN.items())
    count += sum(define_by(model, operator, write, domain=CONTRIB) for operator, write in _OWN.items())
    if not any(node.domain == CONTRIB for node in model.graph.all_nodes()):
        model.opset_imports.pop(CONTRIB, None)
    return count


def _convolution(node: ir.Node) -> str:
    conv = f"Conv <{written(node)}>" if node.attributes else "Conv"
    weight = "e = DequantizeLinear <axis = 0> (w, ws, wz)"
    if len(node.inputs) < 9 or node.inputs[8] is None:
        return f"(x, xs, xz, w, ws, wz, ys, yz) => (y) {{ {_ONE} {weight} f = {conv} (d, e) {_ENDS} }}"
    bias = "s = Mul (xs, ws) g = Cast <to = 1> (b) h = Mul (g, s)"
    return f"(x, xs, xz, w, ws, wz, ys, yz, b) => (y) {{ {_ONE} {weight} {bias} f = {conv} (d, e, h) {_ENDS} }}"


def _product(node: ir.Node) -> str:
    """Scales of a row of the first and of a column of the second may differ."""
    ranks = [
        None if (value := node.inputs[place]) is None or value.shape is None else len(value.shape) for place in (0, 3)
    ]
    if None in ranks:
        return ""
    rows, columns = ((ranks[0] or 2) - 2, (ranks[1] or 1) - 1)
    first = f"d = DequantizeLinear <axis = {max(rows, 0)}> (a, as, az)"
    second = f"e = DequantizeLinear <axis = {columns}> (b, bs, bz)"
    return f"(a, as, az, b, bs, bz, ys, yz) => (y) {{ {first} {second} f = MatMul (d, e) {_ENDS} }}"


def _sum(_: ir.Node) -> str:
    return f"(a, as, az, b, bs, bz, ys, yz) => (y) {{ {_TWO} f = Add (d, e) {_ENDS} }}"


def _times(_: ir.Node) -> str:
    return f"(a, as, az, b, bs, bz, ys, yz) => (y) {{ {_TWO} f = Mul (d, e) {_ENDS} }}"


def _sigmoid(_: ir.Node) -> str:
    return f"(x, xs, xz, ys, yz) => (y) {{ {_ONE} f = Sigmoid (d) {_ENDS} }}"


def _leaky(node: ir.Node) -> str:
    alpha = node.attributes.get_float("alpha", 0.01)
    return f"(x, xs, xz, ys, yz) => (y) {{ {_ONE} f = LeakyRelu <alpha = {alpha}> (d) {_ENDS} }}"


def _mean(node: ir.Node) -> str:
    if node.attributes.get_int("channels_last", 0):
        return ""
    return f"(x, xs, xz, ys, yz) => (y) {{ {_ONE} f = GlobalAveragePool (d) {_ENDS} }}"


_PLAIN: Final = {"QLinearConv": _convolution, "QLinearMatMul": _product}
_OWN: Final = {
    "QLinearAdd": _sum,
    "QLinearMul": _times,
    "QLinearSigmoid": _sigmoid,
    "QLinearLeakyRelu": _leaky,
    "QLinearGlobalAveragePool": _mean,
}

FIT = Fit(
    name="quantized_operators",
    summary="Writes operators on quantized numbers as floats between `DequantizeLinear` and `QuantizeLinear`.",
    change=_rewrite,
    operators=frozenset({*_PLAIN, *_OWN}),
)
