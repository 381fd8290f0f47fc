"""Writes `NonMaxSuppression` as a loop that takes the best box of each class that is left, and drops what overlaps it.

A round takes a box of every batch and class at once; there are as many rounds as boxes may be chosen. Those that were
chosen are counted and listed as in `true_places`. `torchvision.ops.nms` is exported as such.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit
from onnxwright.graph.fitting.true_places import COUNTED, NUMBERS

_LEAST = "-3.4028234663852886e38"
_CORNERS = """
    p0, p1, p2, p3 = Split <axis = -1, num_outputs = 4> (boxes) top = Min (p0, p2) bottom = Max (p0, p2)
    left = Min (p1, p3) right = Max (p1, p3)
"""
_CENTERS = """
    middle_x, middle_y, width, height = Split <axis = -1, num_outputs = 4> (boxes) two = Constant <value = float {2}> ()
    half_w = Div (width, two) half_h = Div (height, two) top = Sub (middle_y, half_h) bottom = Add (middle_y, half_h)
    left = Sub (middle_x, half_w) right = Add (middle_x, half_w)
"""
_ROUND = """
    round (int64 number, bool is_on, float[b, c, n] left_over)
        => (bool goes_on, float[b, c, n] remaining, int64[b, c] chosen, bool[b, c] is_chosen) {
        goes_on = Identity (is_on) place = ArgMax <axis = 2, keepdims = 1> (left_over)
        score = ReduceMax <keepdims = 0> (left_over, third) is_chosen = Greater (score, floor)
        chosen = Squeeze (place, third)
        my_top = GatherElements <axis = 2> (tops, place) my_bottom = GatherElements <axis = 2> (bottoms, place)
        my_left = GatherElements <axis = 2> (lefts, place) my_right = GatherElements <axis = 2> (rights, place)
        my_area = GatherElements <axis = 2> (areas, place)
        high = Max (my_top, tops) low = Min (my_bottom, bottoms) inner = Max (my_left, lefts)
        outer = Min (my_right, rights) tall = Sub (low, high) wide = Sub (outer, inner)
        has_height = Greater (tall, nothing) has_width = Greater (wide, nothing) meets = And (has_height, has_width)
        product = Mul (tall, wide) common = Where (meets, product, nothing)
        sum = Add (my_area, areas) union = Sub (sum, common)
        share = Div (common, union) is_large = Greater (share, overlap) overlaps = And (meets, is_large)
        itself = Equal (places, place) gone = Or (overlaps, itself) remaining = Where (gone, least, left_over)
    }
"""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "NonMaxSuppression", _text)


def _text(node: ir.Node) -> str:
    names = ["boxes", "scores", "most", "threshold", "least_score"]
    given = [place < len(node.inputs) and node.inputs[place] is not None for place in range(5)]
    if not all(given[:3]):
        return ""
    limit = "overlap = Squeeze (threshold)" if given[3] else "overlap = Constant <value = float {0}> ()"
    least = "floor = Squeeze (least_score)" if given[4] else "floor = Identity (least)"
    inputs = ", ".join(name if is_given else f"unused_{name}" for name, is_given in zip(names, given, strict=True))
    corners = _CENTERS if node.attributes.get_int("center_point_box", 0) else _CORNERS
    return f"""({", ".join(inputs.split(", ")[: len(node.inputs)])}) => (y) {{ {NUMBERS}
        third = Constant <value = int64[1] {{2}}> () second = Constant <value = int64[1] {{1}}> ()
        nothing = Constant <value = float {{0}}> () least = Constant <value = float {{{_LEAST}}}> () {limit} {least}
        {corners}
        sizes = Shape (scores) tall_all = Sub (bottom, top) wide_all = Sub (right, left) area = Mul (tall_all, wide_all)
        {" ".join(_of_each_class(name) for name in ("top", "bottom", "left", "right", "area"))}
        number_of = Shape <start = 2> (scores) n = Squeeze (number_of) places = Range (zero, n, one)
        asked = Squeeze (most) rounds = Min (asked, n) always = Constant <value = int64 {{1}}> ()
        is_always = Cast <to = 9> (always)
        rest, listed, marks = Loop (rounds, is_always, scores) <body = {_ROUND}>
        turned = Transpose <perm = [1, 2, 0]> (marks) mask = Reshape (turned, flat) {COUNTED}
        boxes_of = Transpose <perm = [1, 2, 0]> (listed) numbers = Reshape (boxes_of, flat)
        box = Gather (numbers, found) round_list = Shape <start = 0, end = 1> (marks)
        each_round = Max (round_list, one)
        classes = Shape <start = 1, end = 2> (scores) many = Mul (each_round, classes)
        batch = Div (found, many) within = Mod (found, many) class = Div (within, each_round)
        b = Unsqueeze (batch, second) c = Unsqueeze (class, second) k = Unsqueeze (box, second)
        y = Concat <axis = 1> (b, c, k)
    }}"""


def _of_each_class(name: str) -> str:
    """Of [batch, boxes, 1], [batch, classes, boxes]."""
    return f"{name}_t = Transpose <perm = [0, 2, 1]> ({name}) {name}s = Expand ({name}_t, sizes)"


FIT = Fit(
    name="chosen_boxes",
    summary="Writes `NonMaxSuppression` as a loop that takes the best box that is left.",
    change=_rewrite,
    operators=frozenset({"NonMaxSuppression"}),
    words=("has no runners that implement it",),
)
