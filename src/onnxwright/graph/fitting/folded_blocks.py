"""Writes `nn.Fold` (`Col2Im`) as a transposed convolution that puts each element of a block where it lies.

Blocks that overlap are added up by both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "Col2Im", _text)


def _text(node: ir.Node) -> str:
    image, block = (_numbers(value) for value in node.inputs[1:3])
    if image is None or block is None:
        return ""
    count, given = len(block), node.attributes
    strides = given.get_ints("strides") or [1] * count
    dilations = given.get_ints("dilations") or [1] * count
    pads = given.get_ints("pads") or [0] * (2 * count)
    room = [
        size + pads[axis] + pads[axis + count] - dilations[axis] * (block[axis] - 1) - 1
        for axis, size in enumerate(image)
    ]
    grid = [one // step + 1 for one, step in zip(room, strides, strict=True)]
    rest = [one % step for one, step in zip(room, strides, strict=True)]
    size = math.prod(block)
    places = ", ".join(str(int(one)) for one in np.eye(size).ravel())
    return f"""(x, image, block) => (y) {{
        w = Constant <value = float[{_listed([size, 1, *block])}] {{{places}}}> () weight = CastLike (w, x)
        blocks = Constant <value = int64[{count + 2}] {{{_listed([-1, size, *grid])}}}> ()
        ends = Constant <value = int64[{count + 1}] {{{_listed([-1, *image])}}}> ()
        b = Reshape (x, blocks)
        o = ConvTranspose <strides = {[*strides]}, dilations = {[*dilations]}, pads = {[*pads]},
            output_padding = {rest}> (b, weight)
        n = Shape <start = 0, end = 1> (x) shape = Concat <axis = 0> (n, ends) y = Reshape (o, shape)
    }}"""


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _numbers(value: ir.Value | None) -> list[int] | None:
    tensor = None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)
    return None if tensor is None else [int(one) for one in tensor.numpy().ravel()]


FIT = Fit(
    name="folded_blocks",
    summary="Writes `Col2Im` as a transposed convolution.",
    change=_rewrite,
    operators=frozenset({"Col2Im"}),
)
