"""Writes `DeformConv` (`torchvision.ops.deform_conv2d`) as `GridSample` and a convolution of what was sampled.

For each place of a kernel, a picture is sampled where its offsets say; the samples become channels, and the kernel one
pixel large. What is sampled takes as many times the memory of a picture as a kernel has places.
"""

from __future__ import annotations

import itertools
from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by, whole_numbers
from onnxwright.graph.fitting import Fit

_SINCE_LINEAR: Final = 20
"""The opset in which `GridSample` calls it that."""
_RANK: Final = 4
_NAMES: Final = ("x", "w", "offset", "bias", "mask")
_ALONG: Final = """
    @axis = Constant <value = int64 AXIS> () @offset = Gather <axis = 2> (offsets, @axis)
    @size = Gather (shape, @axis) @list = Range (zero, @size, one)
    @stride = Constant <value = int64 STRIDE> () @begin = Mul (@list, @stride) @as_axis = TURNED
    @across = Reshape (@begin, @as_axis) @first = FIRST @down = Reshape (@first, as_places)
    @base = Add (@down, @across) @plain = CastLike (@base, x) @at = Add (@offset, @plain)
    @extent = Shape <start = DIM, end = NEXT> (x) @length = CastLike (@extent, x)
    @twice = Mul (@at, two) @odd = Add (@twice, unit) @part = Div (@odd, @length) @place = Sub (@part, unit)
    @grid = Unsqueeze (@place, last)
"""
"""Where each place of a kernel is sampled along one axis, between -1 and 1; `@` is the axis."""


def _rewrite(model: ir.Model) -> int:
    mode = "linear" if model.opset_imports[""] >= _SINCE_LINEAR else "bilinear"
    return define_by(model, "DeformConv", lambda node: _text(node, mode))


def _text(node: ir.Node, mode: str) -> str:
    value, weight, given = node.inputs[0], node.inputs[1], node.attributes
    sizes = None if weight is None or weight.shape is None else [one for one in weight.shape if isinstance(one, int)]
    channels = None if value is None or value.shape is None else value.shape[1]
    if sizes is None or len(sizes) != _RANK or not isinstance(channels, int):
        return ""
    made, taken, *kernel = sizes
    count = kernel[0] * kernel[1]
    has = [place < len(node.inputs) and node.inputs[place] is not None for place in range(len(_NAMES))]
    inputs = [name if is_given else f"unused_{name}" for name, is_given in zip(_NAMES, has, strict=True)]
    weighed = "m = Reshape (mask, each) weighed = Mul (sampled, m)" if has[4] else "weighed = Identity (sampled)"
    convolved = ["columns", "kernel", *(["bias"] if has[3] else [])]
    along = " ".join(_along(node, kernel, axis) for axis in range(2))
    return f"""({", ".join(inputs[: len(node.inputs)])}) => (y) {{
        zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
        float_two = Constant <value = float {{2}}> () float_one = Constant <value = float {{1}}> ()
        two = CastLike (float_two, x) unit = CastLike (float_one, x) as_places = {whole_numbers([1, count, 1, 1])}
        last = {whole_numbers([-1])} pair = {whole_numbers([2])} single = {whole_numbers([1])}
        count = {whole_numbers([count])} own = {whole_numbers([channels // given.get_int("offset_group", 1)])}
        shape = Shape <start = 2> (offset) split = {whole_numbers([-1, count, 2])}
        full = Concat <axis = 0> (split, shape) offsets = Reshape (offset, full) {along}
        grid = Concat <axis = -1> (x_grid, y_grid) high = Shape <start = 2, end = 3> (offset)
        wide = Shape <start = 3, end = 4> (offset) tall = Mul (high, count)
        grid_shape = Concat <axis = 0> (last, tall, wide, pair) places = Reshape (grid, grid_shape)
        size = Shape <start = 2> (x) apart = Concat <axis = 0> (last, own, size) pictures = Reshape (x, apart)
        found = GridSample <align_corners = 0, mode = "{mode}", padding_mode = "zeros"> (pictures, places)
        by_place = Concat <axis = 0> (last, own, count, shape) sampled = Reshape (found, by_place)
        each = Concat <axis = 0> (last, single, count, shape) {weighed}
        every = {whole_numbers([channels * count])} wanted = Concat <axis = 0> (last, every, shape)
        columns = Reshape (weighed, wanted)
        kernel_shape = {whole_numbers([made, taken * count, 1, 1])} kernel = Reshape (w, kernel_shape)
        y = Conv <group = {given.get_int("group", 1)}, kernel_shape = [1, 1]> ({", ".join(convolved)})
    }}"""


def _along(node: ir.Node, kernel: list[int], axis: int) -> str:
    given = node.attributes
    strides, gaps = (given.get_ints(name) or [1, 1] for name in ("strides", "dilations"))
    pad = (given.get_ints("pads") or [0] * 4)[axis]
    first = [place[axis] * gaps[axis] - pad for place in itertools.product(*map(range, kernel))]
    return (
        _ALONG.replace("AXIS", f"{{{axis}}}")
        .replace("STRIDE", f"{{{strides[axis]}}}")
        .replace("TURNED", whole_numbers([1, 1, -1, 1] if axis == 0 else [1, 1, 1, -1]))
        .replace("FIRST", whole_numbers(first))
        .replace("DIM", str(axis + 2))
        .replace("NEXT", str(axis + 3))
        .replace("@", "yx"[axis] + "_")
    )


FIT = Fit(
    name="deformed_kernels",
    summary="Writes `DeformConv` as `GridSample` and a convolution.",
    change=_rewrite,
    operators=frozenset({"DeformConv"}),
)
