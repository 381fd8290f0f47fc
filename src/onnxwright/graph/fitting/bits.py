"""Writes operators on bits of whole numbers as arithmetic, for masks, hashes and packed weights.

`x << n` is `x * 2**n`, `x >> n` is the quotient, rounded down, `~x` is `-1 - x`, and `x & (2**n - 1)` is the remainder.
Of two numbers in general, each bit is taken apart: 63 of them, and the sign. TensorRT has no unsigned types, so that
numbers cast to one stay int64: the exporter casts for the shift. Numbers of fewer bits are int64 between casts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.graph.adding import cast_to
from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_WHOLE = {ir.DataType.INT32, ir.DataType.INT64}
_NARROW: Final = frozenset(getattr(ir.DataType, name) for name in ("INT8", "UINT8", "INT16", "UINT16", "UINT32"))
_OPERATORS: Final = frozenset({"BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"})
_HALF: Final = 32
_NUMBERS: Final = (
    "last = Constant <value = int64[1] {-1}> () two = Constant <value = int64 {2}> () "
    "zero = Constant <value = int64 {0}> () first = Constant <value = int64[1] {0}> () "
)
# Runtimes add whole numbers up as floats: what is added at once stays below 2**53.
_BOTH: Final = (
    "bits = Mul (abit, bbit) numbers = Mul (bits, weights) "
    "s = Slice (numbers, first, half, last) low = ReduceSum <keepdims = 0> (s, last) "
    "t = Slice (numbers, half, end, last) high = ReduceSum <keepdims = 0> (t, last) "
    "isbelow = And (an, bn) below = Cast <to = 7> (isbelow) sign = Mul (below, top) rest = Sub (high, sign) "
    "upper = Mul (rest, over) both = Add (upper, low) "
)
# Neither of these sums leaves the range of the type on the way.
_OR: Final = "other = Sub (bw, both) either = Add (aw, other) y = CastLike (either, a)"
_XOR: Final = "one = Sub (aw, both) other = Sub (bw, both) either = Add (one, other) y = CastLike (either, a)"


def _rewrite(model: ir.Model) -> int:
    for graph in model.graphs():
        for node in [one for one in graph if one.op_type in _OPERATORS and not one.domain]:
            if all(value is not None and value.dtype in _NARROW for value in node.inputs):
                _widen(graph, node)
    return (
        define_by(model, "BitwiseNot", _complement)
        + define_by(model, "BitwiseAnd", lambda node: _masked(node) or _of_bits(node, "y = CastLike (both, a)"))
        + define_by(model, "BitwiseOr", lambda node: _of_bits(node, _OR))
        + define_by(model, "BitwiseXor", lambda node: _of_bits(node, _XOR))
        + define_by(model, "BitShift", _shifted)
    )


def _widen(graph: ir.Graph | ir.Function, node: ir.Node) -> None:
    """Has a node compute in int64, between casts."""
    made, narrow = node.outputs[0], None
    for place, value in enumerate(node.inputs):
        assert value is not None, "asked for by the caller"
        cast, narrow = cast_to(value, ir.DataType.INT64, f"{made.name}_wide_{place}"), value.dtype
        graph.insert_before(node, cast)
        node.replace_input_with(place, cast.outputs[0])
    assert narrow is not None, "asked for by the caller"
    wide = ir.node(node.op_type, list(node.inputs), node.attributes)
    wide.outputs[0].name, wide.outputs[0].shape = f"{made.name}_wide", made.shape
    wide.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    back = cast_to(wide.outputs[0], narrow, str(made.name))
    ir.convenience.replace_nodes_and_values(graph, node, [node], [wide, back], [made], [back.outputs[0]])


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


def _of_bits(node: ir.Node, last: str) -> str:
    if any(value is None or value.dtype not in _WHOLE for value in node.inputs):
        return ""
    kind = node.inputs[0].dtype if node.inputs[0] is not None else None
    count = 31 if kind == ir.DataType.INT32 else 63
    half = min(_HALF, count - 1)
    weights = [1 << place for place in range(half)] + [1 << place for place in range(count - half)]
    numbers = (
        f"powers = {_listed([1 << place for place in range(count)])} weights = {_listed(weights)} "
        f"half = {_listed([half])} end = {_listed([count])} "
        f"over = {_listed([1 << half])} top = {_listed([1 << (count - half)])}"
    )
    return f"(a, b) => (y) {{ {_NUMBERS} {numbers} {_taken_apart('a')} {_taken_apart('b')} {_BOTH} {last} }}"


def _listed(numbers: Sequence[int]) -> str:
    return f"Constant <value = int64[{len(numbers)}] {{{', '.join(map(str, numbers))}}}> ()"


def _taken_apart(name: str) -> str:
    return (
        f"{name}w = Cast <to = 7> ({name}) {name}u = Unsqueeze ({name}w, last) {name}r = Mod ({name}u, powers) "
        f"{name}d = Sub ({name}u, {name}r) {name}q = Div ({name}d, powers) {name}bit = Mod ({name}q, two) "
        f"{name}n = Less ({name}w, zero)"
    )


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
    operators=_OPERATORS,
)
