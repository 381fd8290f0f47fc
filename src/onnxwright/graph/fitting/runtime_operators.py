"""Writes what ONNX Runtime's optimizer has fused as ONNX's own operators.

TensorRT's parser doesn't look at the domain of an operator: it would take `com.microsoft::Attention` for ONNX's.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit
from onnxwright.graph.targets import CONTRIB

_ERF: Final = (
    "r = Constant <value = float {1.4142135381698608}> () half = Constant <value = float {0.5}> () "
    "one = Constant <value = float {1}> () d = Div (s, r) e = Erf (d) p = Add (e, one) h = Mul (s, half) y = Mul (h, p)"
)
_TANH: Final = (
    "half = Constant <value = float {0.5}> () one = Constant <value = float {1}> () "
    "a = Constant <value = float {0.044715}> () b = Constant <value = float {0.7978845834732056}> () "
    "q = Mul (s, s) c = Mul (q, s) d = Mul (c, a) e = Add (s, d) f = Mul (e, b) g = Tanh (f) p = Add (g, one) "
    "h = Mul (s, half) y = Mul (h, p)"
)


def _rewrite(model: ir.Model) -> int:
    count = 0
    for operator, write in _TEXTS.items():
        count += define_by(model, operator, write, domain=CONTRIB)
    if not any(node.domain == CONTRIB for node in model.graph.all_nodes()):
        model.opset_imports.pop(CONTRIB, None)
    return count


def _gelu(_: ir.Node) -> str:
    return f"(x) => (y) {{ s = Identity (x) {_ERF} }}"


def _bias_gelu(_: ir.Node) -> str:
    return f"(x, v) => (y) {{ s = Add (x, v) {_ERF} }}"


def _fast_gelu(node: ir.Node) -> str:
    inputs, total = ("x, v", "Add (x, v)") if len(node.inputs) > 1 else ("x", "Identity (x)")
    return f"({inputs}) => (y) {{ s = {total} {_TANH} }}"


def _quick_gelu(node: ir.Node) -> str:
    alpha = node.attributes.get_float("alpha", 1.702)
    return f"(x) => (y) {{ a = Constant <value = float {{{alpha}}}> () b = Mul (x, a) c = Sigmoid (b) y = Mul (x, c) }}"


def _fused_product(node: ir.Node) -> str:
    named = [node.attributes.get_int(name, 0) for name in ("transA", "transB", "transBatchA", "transBatchB")]
    ranks = [len(value.shape) if value is not None and value.shape is not None else 0 for value in node.inputs]
    if named[2] or named[3] or any(rank < 2 for rank in ranks):
        return ""
    turns = []
    for place, (name, rank) in enumerate(zip("ab", ranks, strict=True)):
        order = [*range(rank - 2), rank - 1, rank - 2]
        how = f"Transpose <perm = {order}> ({name})" if named[place] else f"Identity ({name})"
        turns.append(f"{name}t = {how}")
    alpha = node.attributes.get_float("alpha", 1.0)
    scale = f"c = Constant <value = float {{{alpha}}}> () y = Mul (p, c)"
    return f"(a, b) => (y) {{ {' '.join(turns)} p = MatMul (at, bt) {scale} }}"


def _skip_norm(node: ir.Node) -> str:
    """`LayerNormalization` of a sum; its second and third output are never told by those that fuse it."""
    names = ["x", "skip", "g", "beta", "bias"][: len(node.inputs)]
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:3]) or None in node.inputs:
        return ""
    total = "s = Add (x, skip)" + (" total = Add (s, bias)" if "bias" in names else " total = Identity (s)")
    norm = f"LayerNormalization <axis = -1, epsilon = {node.attributes.get_float('epsilon', 1e-12)}>"
    given = "total, g, beta" if "beta" in names else "total, g"
    outputs, rest = (
        ("y", "")
        if len(node.outputs) < 4
        else ("y, u, v, w", "w = Identity (total) u = Identity (total) v = Identity (total)")
    )
    return f"({', '.join(names)}) => ({outputs}) {{ {total} y = {norm} ({given}) {rest} }}"


_TEXTS: Final = {
    "Gelu": _gelu,
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "QuickGelu": _quick_gelu,
    "FusedMatMul": _fused_product,
    "SkipLayerNormalization": _skip_norm,
}
FIT = Fit(
    name="runtime_operators",
    summary="Writes operators of ONNX Runtime's own domain as ONNX's.",
    change=_rewrite,
    operators=frozenset(_TEXTS),
)
