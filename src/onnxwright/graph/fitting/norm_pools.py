"""Writes a pooling by p-norms (`nn.LPPool2d`) as an average of powers, times their number, and its root."""

from __future__ import annotations

import math

import onnx_ir as ir

from onnxwright.graph.defining import define_by, written
from onnxwright.graph.fitting import Fit

_KEPT = ("auto_pad", "kernel_shape", "pads", "strides")


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "LpPool", _text)


def _text(node: ir.Node) -> str:
    given = node.attributes
    kernel = given.get_ints("kernel_shape") or []
    is_cut, has_gaps = given.get_int("ceil_mode", 0) != 0, any(one != 1 for one in given.get_ints("dilations") or [])
    # An average over a window that is cut off at the edge, or has gaps, is of another number of elements.
    if not kernel or is_cut or has_gaps:
        return ""
    power = given.get_int("p", 2)
    return f"""(x) => (y) {{
        p = Constant <value = float {{{power}}}> () q = Constant <value = float {{{1 / power}}}> ()
        n = Constant <value = float {{{math.prod(kernel)}}}> () power = CastLike (p, x) root = CastLike (q, x)
        number = CastLike (n, x) a = Abs (x) b = Pow (a, power)
        c = AveragePool <{written(node, _KEPT)}, count_include_pad = 1> (b) d = Mul (c, number) y = Pow (d, root)
    }}"""


FIT = Fit(
    name="norm_pools",
    summary="Writes a pooling by p-norms as an average of powers.",
    change=_rewrite,
    operators=frozenset({"LpPool"}),
)
