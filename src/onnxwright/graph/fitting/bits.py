"""Writes operators on bits of whole numbers as arithmetic, for masks, hashes and packed weights.

`x << n` is `x * 2**n`, `x >> n` of what isn't negative is the quotient, `~x` is `-1 - x`, and `x & (2**n - 1)` is the
remainder. TensorRT has no unsigned types, so that numbers cast to one stay int64: the exporter casts for the shift.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_WHOLE = {ir.DataType.INT32, ir.DataType.INT64}


def _rewrite(model: ir.Model) -> int:
    return (
        define_by(model, "BitwiseNot", _complement)
        + define_by(model, "BitwiseAnd", _masked)
        + define_by(model, "BitShift", _shifted)
    )


def _complement(node: ir.Node) -> str:
    if node.inputs[0] is None or node.inputs[0].dtype not in _WHOLE:
        return ""
    return "(x) => (y) { m = Constant <value = int64 {-1}> () one = CastLike (m, x) y = Sub (one, x) }"


def _masked(node: ir.Node) -> str:
    """`x & (2**n - 1)` with a constant is a remainder, also of negative numbers in two's complement."""
    numbers = [None if value is None else ir.convenience.get_const_tensor(value) for value in node.inputs]
    if any(value is None or value.dtype not in _WHOLE for value in node.inputs):
        return ""
    for place, mask in enumerate(numbers):
        bits = None if mask is None else mask.numpy().astype(np.int64) + 1
        if bits is not None and bits.size and np.all((bits > 0) & ((bits & (bits - 1)) == 0)):
            x, m = ("b", "a") if place == 0 else ("a", "b")
            return (
                "(a, b) => (y) { o = Constant <value = int64 {1}> () one = CastLike (o, a) "
                f"n = Add ({m}, one) y = Mod ({x}, n) }}"
            )
    return ""


def _shifted(node: ir.Node) -> str:
    if any(value is None or value.dtype not in _WHOLE for value in node.inputs):
        return ""
    two = "t = Constant <value = int64 {2}> () two = CastLike (t, x) f = Pow (two, n)"
    if node.attributes.get_string("direction") == "LEFT":
        return f"(x, n) => (y) {{ {two} y = Mul (x, f) }}"
    # Rounds towards minus infinity, as an arithmetic shift does: `Div` rounds towards zero.
    return f"(x, n) => (y) {{ {two} r = Mod (x, f) e = Sub (x, r) y = Div (e, f) }}"


FIT = Fit(
    name="bits",
    summary="Writes operators on bits as arithmetic on whole numbers.",
    change=_rewrite,
    operators=frozenset({"BitShift", "BitwiseAnd", "BitwiseNot"}),
)
