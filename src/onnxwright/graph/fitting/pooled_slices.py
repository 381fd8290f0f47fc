"""Writes a pooling whose windows have gaps (`nn.MaxPool2d(…, dilation=2)`) as one slice for each place in a window."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_MOST: Final = 64
"""A window of more places makes a graph that is larger than it is worth."""
_END: Final = (1 << 63) - 1


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "MaxPool", _greatest) + define_by(model, "AveragePool", _mean)


def _greatest(node: ir.Node) -> str:
    """Padded with what is never the greatest."""
    return "" if len(node.outputs) > 1 else _text(node, "Constant <value = float {-3.4028234663852886e38}> ()", "Max")


def _mean(node: ir.Node) -> str:
    """With padding counted, the sum over the number of places; else over the number of those that are no padding."""
    if any(node.attributes.get_ints("pads") or []) and not node.attributes.get_int("count_include_pad", 0):
        return ""
    return _text(node, "Constant <value = float {0}> ()", "Mean")


def _text(node: ir.Node, padding: str, combine: str) -> str:
    given = node.attributes
    kernel = list(given.get_ints("kernel_shape") or [])
    count = len(kernel)
    gaps = list(given.get_ints("dilations") or [1] * count)
    strides = list(given.get_ints("strides") or [1] * count)
    pads = list(given.get_ints("pads") or [0] * (2 * count))
    places = list(itertools.product(*map(range, kernel)))
    is_plain = given.get_string("auto_pad", "NOTSET") == "NOTSET" and given.get_int("ceil_mode", 0) == 0
    if not is_plain or all(gap == 1 for gap in gaps) or len(places) > _MOST:
        return ""
    around = [0, 0, *pads[:count], 0, 0, *pads[count:]]
    lines = [
        f"around = {_numbers(around)} f = {padding} filling = CastLike (f, x) p = Pad (x, around, filling)",
        f"axes = {_numbers(range(2, count + 2))} steps = {_numbers(strides)}",
    ]
    for number, place in enumerate(places):
        starts = [one * gap for one, gap in zip(place, gaps, strict=True)]
        left = [gap * (size - 1) - start for gap, size, start in zip(gaps, kernel, starts, strict=True)]
        ends = [-one if one else _END for one in left]
        lines.append(f"a{number} = {_numbers(starts)} b{number} = {_numbers(ends)}")
        lines.append(f"s{number} = Slice (p, a{number}, b{number}, axes, steps)")
    return f"(x) => (y) {{ {' '.join(lines)} y = {combine} ({', '.join(f's{one}' for one in range(len(places)))}) }}"


def _numbers(numbers: Sequence[int]) -> str:
    return f"Constant <value = int64[{len(numbers)}] {{{', '.join(map(str, numbers))}}}> ()"


FIT = Fit(
    name="pooled_slices",
    summary="Writes a pooling whose windows have gaps as one slice for each place in a window.",
    change=_rewrite,
    operators=frozenset({"MaxPool", "AveragePool"}),
)
