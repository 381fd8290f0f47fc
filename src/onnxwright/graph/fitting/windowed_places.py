"""Writes a `MaxPool` that also tells where its greatest were (`return_indices=True`) as one slice for each place.

Of equal ones the first is told. Places are numbered through the whole tensor, as ONNX has it.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by, whole_numbers
from onnxwright.graph.fitting import Fit
from onnxwright.graph.fitting.pooled_slices import LEAST, Windows, windows_of


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "MaxPool", _text)


def _text(node: ir.Node) -> str:
    windows = windows_of(node) if len(node.outputs) > 1 else None
    if windows is None or node.attributes.get_int("storage_order", 0) != 0:
        return ""
    rank = len(windows.strides)
    columns = [f"e{place}" for place in range(len(windows.places))]
    rows = " ".join(f"{name} = Unsqueeze (s{place}, last)" for place, name in enumerate(columns))
    axes = " ".join(_axis(windows, axis) for axis in range(rank))
    return f"""(x) => (y, places) {{
        zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
        last = Constant <value = int64[1] {{-1}}> () first = Constant <value = int64[1] {{0}}> ()
        {windows.text("x", "s", LEAST)} {rows} every = Concat <axis = -1> ({", ".join(columns)})
        y = ReduceMax <keepdims = 0> (every, last) best = ArgMax <axis = -1, keepdims = 0> (every)
        pictures = Shape <end = 2> (y) count = ReduceProd <keepdims = 0> (pictures) each = Range (zero, count, one)
        ones = {whole_numbers([1] * rank)} outer = Concat <axis = 0> (pictures, ones) n0 = Reshape (each, outer)
        {axes} places = Identity (n{rank})
    }}"""


def _axis(windows: Windows, axis: int) -> str:
    """Goes on with the numbers by one axis: the size of that times what there was, and where in it that lies."""
    around, rank = windows.around[axis + 2], len(windows.strides)
    within = whole_numbers([starts[axis] - around for starts, _ in windows.places])
    column = whole_numbers([-1, *(1 for _ in range(rank - axis - 1))])
    return f"""
        w{axis} = {within} a{axis} = Gather (w{axis}, best) o{axis} = Shape <start = {axis + 2}, end = {axis + 3}> (y)
        m{axis} = Squeeze (o{axis}, first) r{axis} = Range (zero, m{axis}, one)
        t{axis} = Constant <value = int64 {{{windows.strides[axis]}}}> () b{axis} = Mul (r{axis}, t{axis})
        h{axis} = {column} d{axis} = Reshape (b{axis}, h{axis}) c{axis} = Add (d{axis}, a{axis})
        z{axis} = Shape <start = {axis + 2}, end = {axis + 3}> (x) g{axis} = Mul (n{axis}, z{axis})
        n{axis + 1} = Add (g{axis}, c{axis})"""


FIT = Fit(
    name="windowed_places",
    summary="Writes a `MaxPool` that tells where its greatest were as one slice for each place.",
    change=_rewrite,
    operators=frozenset({"MaxPool"}),
)
