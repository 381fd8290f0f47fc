"""Writes a pooling whose windows have gaps (`nn.MaxPool2d(…, dilation=2)`) as one slice for each place in a window."""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

import onnx_ir as ir

from onnxwright.graph.defining import define_by, whole_numbers
from onnxwright.graph.fitting import Fit

_MOST: Final = 64
"""A window of more places makes a graph that is larger than it is worth."""
_END: Final = (1 << 63) - 1
LEAST: Final = "-3.4028234663852886e38"
"""What is never the greatest."""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "MaxPool", _greatest) + define_by(model, "AveragePool", _mean)


def _greatest(node: ir.Node) -> str:
    """Padded with what is never the greatest."""
    windows = None if len(node.outputs) > 1 else _windows(node)
    if windows is None:
        return ""
    return f"(x) => (y) {{ {windows.text('x', 's', LEAST)} y = Max ({windows.names('s')}) }}"


def _mean(node: ir.Node) -> str:
    """With padding counted, or without any, the mean of the places; else their sum over that of ones."""
    windows, given = _windows(node), node.attributes
    if windows is None:
        return ""
    if not any(given.get_ints("pads") or []) or given.get_int("count_include_pad", 0) == 1:
        return f"(x) => (y) {{ {windows.text('x', 's')} y = Mean ({windows.names('s')}) }}"
    ones = "o = Constant <value = float {1}> () one = CastLike (o, x) shape = Shape (x) ones = Expand (one, shape)"
    return f"""(x) => (y) {{ {windows.text("x", "s")} {ones} {windows.text("ones", "n")}
        total = Sum ({windows.names("s")}) count = Sum ({windows.names("n")}) y = Div (total, count) }}"""


class Windows(NamedTuple):
    """Where the places of each window lie in what is padded: from where, to where from the end, and in which steps."""

    around: list[int]
    strides: list[int]
    places: list[tuple[list[int], list[int]]]

    def names(self, prefix: str) -> str:
        """What the slices are called."""
        return ", ".join(f"{prefix}{number}" for number in range(len(self.places)))

    def text(self, value: str, prefix: str, padding: str = "0") -> str:
        """A slice for each place."""
        axes = range(2, len(self.strides) + 2)
        lines = [
            f"{prefix}around = {whole_numbers(self.around)} {prefix}f = Constant <value = float {{{padding}}}> ()",
            f"{prefix}filling = CastLike ({prefix}f, x) {prefix}p = Pad ({value}, {prefix}around, {prefix}filling)",
            f"{prefix}axes = {whole_numbers(axes)} {prefix}steps = {whole_numbers(self.strides)}",
        ]
        for number, (starts, ends) in enumerate(self.places):
            lines.append(f"{prefix}a{number} = {whole_numbers(starts)} {prefix}b{number} = {whole_numbers(ends)}")
            ends_at = f"{prefix}a{number}, {prefix}b{number}, {prefix}axes, {prefix}steps"
            lines.append(f"{prefix}{number} = Slice ({prefix}p, {ends_at})")
        return " ".join(lines)


def _windows(node: ir.Node) -> Windows | None:
    return windows_of(node) if any(gap != 1 for gap in node.attributes.get_ints("dilations") or []) else None


def windows_of(node: ir.Node) -> Windows | None:
    """Returns the windows of a pooling; None where some are cut off, or have too many places."""
    given = node.attributes
    kernel = list(given.get_ints("kernel_shape") or [])
    count = len(kernel)
    gaps = list(given.get_ints("dilations") or [1] * count)
    pads = list(given.get_ints("pads") or [0] * (2 * count))
    places = list(itertools.product(*map(range, kernel)))
    is_plain = given.get_string("auto_pad", "NOTSET") == "NOTSET" and given.get_int("ceil_mode", 0) == 0
    if not is_plain or len(places) > _MOST:
        return None
    spans = [gap * (size - 1) for gap, size in zip(gaps, kernel, strict=True)]
    starts = [[one * gap for one, gap in zip(place, gaps, strict=True)] for place in places]
    ends = [[start - span or _END for start, span in zip(one, spans, strict=True)] for one in starts]
    strides = list(given.get_ints("strides") or [1] * count)
    around = [0, 0, *pads[:count], 0, 0, *pads[count:]]
    return Windows(around, strides, list(zip(starts, ends, strict=True)))


FIT = Fit(
    name="pooled_slices",
    summary="Writes a pooling whose windows have gaps as one slice for each place in a window.",
    change=_rewrite,
    operators=frozenset({"MaxPool", "AveragePool"}),
)
