"""Writes a Fourier transform along an axis as products with the matrices of cosines and sines, as `torch.fft` needs.

`X[k] = Σ x[j] · (cos(2πkj/n) - i·sin(2πkj/n))`: of n numbers, n products each. Angles are reduced
in whole numbers first.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_SINCE_AXIS_INPUT = 20
_TEXT = """({inputs}) => (y) {{
    first = Constant <value = int64[1] {{0}}> () last = Constant <value = int64[1] {{-1}}> ()
    rows = Constant <value = int64[1] {{-2}}> () zero = Constant <value = int64 {{0}}> ()
    one = Constant <value = int64 {{1}}> () two = Constant <value = int64 {{2}}> ()
    t = Transpose <perm = {turn}> (x) {length}
    have = Shape <start = -2, end = -1> (u) n = Squeeze (have, first) {size} {count}
    k = Range (zero, count, one) j = Range (zero, n, one) column = Unsqueeze (k, last) row = Unsqueeze (j, first)
    turns = Mul (column, row) part = Mod (turns, size) numbers = Cast <to = 1> (part) whole = Cast <to = 1> (size)
    circle = Constant <value = float {{{circle}}}> () share = Div (numbers, whole) angle = Mul (share, circle)
    c = Cos (angle) s = Sin (angle) even = MatMul (c, u) odd = MatMul (s, u)
    p = Constant <value = float[{parts}, 2] {{{straight}}}> () q = Constant <value = float[{parts}, 2] {{{across}}}> ()
    evens = MatMul (even, p) odds = MatMul (odd, q) both = Add (evens, odds) {scale}
    y = Transpose <perm = {turn}> (scaled)
}}"""


def _rewrite(model: ir.Model) -> int:
    version = model.opset_imports.get("", 0)
    return define_by(model, "DFT", lambda node: _text(node, version))


def _text(node: ir.Node, version: int) -> str:
    value = node.inputs[0]
    shape = None if value is None else value.shape
    axis = _axis(node, version)
    is_inverse, is_onesided = (bool(node.attributes.get_int(name, 0)) for name in ("inverse", "onesided"))
    if value is None or shape is None or axis is None or (is_inverse and is_onesided):
        return ""
    parts, axis = shape[-1], axis % len(shape)
    if value.dtype != ir.DataType.FLOAT or parts not in {1, 2} or axis == len(shape) - 1:
        return ""
    sign = 1 if is_inverse else -1
    has_length = len(node.inputs) > 1 and node.inputs[1] is not None
    return _TEXT.format(
        inputs=", ".join(("x", "l", "a")[: len(node.inputs)]),
        turn=_swapped(len(shape), axis, len(shape) - 2),
        length=("flat = Reshape (l, last) u = Slice (t, first, flat, rows)" if has_length else "u = Identity (t)"),
        size="size = Squeeze (flat, first)" if has_length else "size = Identity (n)",
        count="half = Div (size, two) count = Add (half, one)" if is_onesided else "count = Identity (size)",
        circle=2 * math.pi,
        parts=parts,
        straight="1, 0" if parts == 1 else "1, 0, 0, 1",
        across=f"0, {sign}" if parts == 1 else f"0, {sign}, {-sign}, 0",
        scale="scaled = Div (both, whole)" if is_inverse else "scaled = Identity (both)",
    )


def _axis(node: ir.Node, version: int) -> int | None:
    if version < _SINCE_AXIS_INPUT:
        return node.attributes.get_int("axis", 1)
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return -2
    numbers = ir.convenience.get_const_tensor(node.inputs[2])
    return None if numbers is None or node.inputs[2].is_graph_input() else int(numbers.numpy().ravel()[0])


def _swapped(rank: int, one: int, other: int) -> list[int]:
    order = list(range(rank))
    order[one], order[other] = order[other], order[one]
    return order


FIT = Fit(
    name="fourier",
    summary="Writes a Fourier transform as products with cosines and sines.",
    change=_rewrite,
    operators=frozenset({"DFT"}),
)
