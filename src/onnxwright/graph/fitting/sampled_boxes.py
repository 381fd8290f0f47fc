"""Writes `RoiAlign` by means as two products: what each row, and each column, of a box takes of the rows of a picture.

What is sampled between pixels is linear along each axis, and so is the mean of samples. Each box has a copy of its
picture. Where as many samples are taken as a box is large (`sampling_ratio` of 0), their number is computed, for which
TensorRT has to wait. `torchvision.ops.roi_align` is exported as such. The greatest of samples (`mode="max"`) stays:
ONNX takes it before it adds up what lies around a sample.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_SINCE_MODES: Final = 16
"""The opset since which a node says how its coordinates lie; before that, they were those of pixels."""
_CONSTANTS: Final = """
    zero = Constant <value = int64 {0}> () one = Constant <value = int64 {1}> ()
    nothing = Constant <value = float {0}> () whole = Constant <value = float {1}> ()
    half = Constant <value = float {0.5}> () outside = Constant <value = float {-1}> ()
    first = Constant <value = int64[1] {0}> () second = Constant <value = int64[1] {1}> ()
    third = Constant <value = int64[1] {2}> () fourth = Constant <value = int64[1] {3}> ()
    later = Constant <value = int64[2] {1, 2}> ()
"""
_ALONG: Final = """
    @column = Constant <value = int64 COLUMN> () @end_column = Constant <value = int64 END> ()
    @begin = Gather <axis = 1> (placed, @column) @end = Gather <axis = 1> (placed, @end_column)
    @length = Sub (@end, @begin) @extent = EXTENT
    @parts = Constant <value = int64 PARTS> () @float_parts = Cast <to = 1> (@parts)
    @bin = Div (@extent, @float_parts) SAMPLES
    @part_list = Range (zero, @parts, one) @part = Cast <to = 1> (@part_list) @part_rows = Unsqueeze (@part, second)
    @many = Cast <to = 7> (@most) @sample_list = Range (zero, @many, one) @sample = Cast <to = 1> (@sample_list)
    @size_list = Shape <start = AXIS, end = NEXT> (picture) @size = Squeeze (@size_list, first)
    @pixel_list = Range (zero, @size, one) @pixel = Cast <to = 1> (@pixel_list)
    @float_size = Cast <to = 1> (@size) @last = Sub (@float_size, whole)
    @middle = Add (@sample, half) @share = Div (@middle, @samples) @reached = Add (@part_rows, @share)
    @bins = Unsqueeze (@bin, later) @begins = Unsqueeze (@begin, later)
    @within = Mul (@reached, @bins) @at = Add (@begins, @within)
    @is_past = GreaterOrEqual (@at, outside) @is_before = LessOrEqual (@at, @float_size)
    @is_there = And (@is_past, @is_before) @is_taken = Less (@sample, @samples)
    @is_used = And (@is_there, @is_taken)
    @raised = Max (@at, nothing) @clamped = Min (@raised, @last) @places = Unsqueeze (@clamped, fourth)
    @apart = Sub (@places, @pixel) @distance = Abs (@apart) @near = Sub (whole, @distance)
    @weight = Max (@near, nothing) @uses = Unsqueeze (@is_used, fourth) @weights = Where (@uses, @weight, nothing)
    @total = ReduceSum <keepdims = 0> (@weights, third) @divisor = Max (@samples, whole) @taken = Div (@total, @divisor)
"""
"""What each part of each box takes of each row or column of its picture, [boxes, parts, size]; `@` is the axis."""
_AS_LARGE: Final = """
    @counted = Ceil (@bin) @samples = Unsqueeze (@counted, later) @none = Constant <value = float[1] {0}> ()
    @every = Concat <axis = 0> (@none, @counted) @greatest, @place = TopK (@every, second)
    @most = Squeeze (@greatest, first)
"""
"""By `TopK`, since of a few boxes TensorRT would compute a maximum beforehand, where it has whole numbers only."""
_FIXED: Final = "@samples = Constant <value = float {COUNT}> () @most = Identity (@samples)"


def _rewrite(model: ir.Model) -> int:
    has_modes = model.opset_imports[""] >= _SINCE_MODES
    return define_by(model, "RoiAlign", lambda node: _text(node, has_modes=has_modes))


def _text(node: ir.Node, *, has_modes: bool) -> str:
    given = node.attributes
    if given.get_string("mode", "avg") != "avg":
        return ""
    is_shifted = has_modes and given.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    samples = given.get_int("sampling_ratio", 0)
    along = " ".join(
        _ALONG.replace("SAMPLES", _FIXED.replace("COUNT", str(samples)) if samples > 0 else _AS_LARGE)
        .replace("EXTENT", "Identity (@length)" if is_shifted else "Max (@length, whole)")
        .replace("COLUMN", f"{{{column}}}")
        .replace("END", f"{{{column + 2}}}")
        .replace("PARTS", f"{{{given.get_int(size, 1)}}}")
        .replace("AXIS", str(axis))
        .replace("NEXT", str(axis + 1))
        .replace("@", name)
        for name, column, size, axis in (("y_", 1, "output_height", 2), ("x_", 0, "output_width", 3))
    )
    return f"""(picture, boxes, pictures) => (y) {{ {_CONSTANTS}
        scale = Constant <value = float {{{given.get_float("spatial_scale", 1.0)}}}> ()
        offset = Constant <value = float {{{0.5 if is_shifted else 0}}}> ()
        scaled = Mul (boxes, scale) placed = Sub (scaled, offset) {along}
        chosen = Gather <axis = 0> (picture, pictures) rows = Unsqueeze (y_taken, second)
        columns = Unsqueeze (x_taken, second) turned = Transpose <perm = [0, 1, 3, 2]> (columns)
        by_rows = MatMul (rows, chosen) y = MatMul (by_rows, turned)
    }}"""


FIT = Fit(
    name="sampled_boxes",
    summary="Writes `RoiAlign` by means as two products with what lies around each sample.",
    change=_rewrite,
    operators=frozenset({"RoiAlign"}),
)
