"""Rotary positions, and attention in groups, as one node of ONNX Runtime each."""

import numpy as np
import pytest
from cases.graphs import LIMIT, answers, draw, error, kinds, model, rewritten

from onnxwright.tolerance import distance

NUMBERS = """int64[1] zero = {0}, int64[1] half = {4}, int64[1] end = {9223372036854775807}, int64[1] last = {3},
    int64[1] minus = {-1}, int64[1] three = {3}, float scale = {0.5}"""
ANGLES = "c = Concat <axis = -1> (angle, angle) cos = Cos (c) sin = Sin (c)"
SCALED = "c = Concat <axis = 3> (angle, angle) k = Cos (c) cos = Mul (k, scale) l = Sin (c) sin = Mul (scale, l)"
HALVES = "low = Slice (x, zero, half, last) high = Slice (x, half, end, minus)"
TURNED = "turn = Neg (high) crossed = Concat <axis = -1> (turn, low)"
SUM = "m = Mul (x, cos) n = Mul (crossed, sin) y = Add (m, n)"
X = "float[b, 3, s, 8] x"


def graph(angles=ANGLES, halves=HALVES, turned=TURNED, total=SUM, *, x=X, angle="float[1, 1, s, 4] angle", more=""):
    outputs = ", ".join(part for part in ("float[b, 3, s, 8] y", more) if part)
    body = f"{angles} {halves} {turned} {total}"
    return model(f"rotary ({x}, {angle}) => ({outputs}) <{NUMBERS}> {{ {body} }}")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"total": "m = Mul (cos, x) n = Mul (sin, crossed) y = Add (n, m)"},
        {"halves": "low, high = Split <axis = -1, num_outputs = 2> (x)"},
        {"angles": SCALED},
        {"angle": "float[1, s, 4] angle"},
        {"angle": "float[s, 4] angle", "angles": f"{ANGLES.replace('cos =', 'k =')} cos = Unsqueeze (k, zero)"},
    ],
)
@pytest.mark.parametrize("sizes", [{"b": 2, "s": 5}, {"b": 1, "s": 1}])
def test_fires(change, sizes):
    before = graph(**change)

    after, trace = rewritten(before, "rotary", "chains", "reshapes")

    assert trace.counts["rotary"] == 1
    assert "RotaryEmbedding" in kinds(after)
    assert not {"Neg", "Add"} & set(kinds(after))
    assert error(before, after, draw(before, **sizes)) <= LIMIT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"angle": "float[1, 1, s, 8] angle", "angles": "cos = Cos (angle) sin = Sin (angle)"},
            "angles of both halves",
        ),
        (
            {
                "angles": ANGLES.replace("(angle, angle)", "(angle, other)"),
                "angle": "float[1, 1, s, 4] angle, float[1, 1, s, 4] other",
            },
            "angles of both halves",
        ),
        ({"angle": "float[b, 1, s, 4] angle"}, "same for all rows and heads"),
        ({"angle": "float[1, 3, s, 4] angle"}, "same for all rows and heads"),
        ({"angle": "float[1, 1, 1, 4] angle"}, "same for all rows and heads"),
        ({"more": "float[b, 3, s, 8] crossed"}, "Something else takes a value inside of the pattern."),
        ({"x": "float[b, h, s, 8] x"}, "isn't known to have heads"),
    ],
)
def test_says_why_it_declines(change, reason):
    _, trace = rewritten(graph(**change), "rotary")

    assert reason in trace.near_misses[0].reason
    assert not trace.hits


@pytest.mark.parametrize(
    "change",
    [
        {"turned": "turn = Neg (low) crossed = Concat <axis = -1> (turn, high)"},
        {"turned": "turn = Neg (high) crossed = Concat <axis = -1> (low, turn)"},
        {"halves": HALVES.replace("zero, half", "half, end")},
        {"turned": "turn = Neg (high) crossed = Concat <axis = 3> (turn, z)", "x": f"{X}, float[b, 3, s, 4] z"},
    ],
)
def test_leaves_sums_of_another_kind(change):
    assert not rewritten(graph(**change), "rotary")[1].hits


def test_angles_of_another_position_would_be_seen():
    before = graph()
    after, _ = rewritten(before, "rotary")
    node = next(node for node in after.graph if node.op_type == "RotaryEmbedding")
    node.replace_input_with(2, node.inputs[3])

    assert error(before, after, draw(before)) > LIMIT


REPEATED = """uk = Unsqueeze (k, two) ek = Expand (uk, many) rk = Reshape (ek, back)
    uv = Unsqueeze (v, two) ev = Expand (uv, many) rv = Reshape (ev, back)"""
GROUPED = """t = Transpose <perm = [0, 1, 3, 2]> (rk) n = MatMul (q, t) e = Mul (n, c) m = Add (e, mask)
    p = Softmax <axis = -1> (m) y = MatMul (p, rv)"""
INPUTS = "float[b, 6, s, 8] q, float[b, 2, s, 8] k, float[b, 2, s, 8] v, float[b, 1, s, s] mask"
SIZES = "float c = {0.5}, int64[1] two = {2}, int64[5] many = {1, 1, 3, 1, 1}, int64[4] back = {0, 6, -1, 8}"


def grouped(body=GROUPED, *, inputs=INPUTS, repeated=REPEATED, more="", sizes=SIZES, width=8):
    outputs = ", ".join(part for part in (f"float[b, 6, s, {width}] y", more) if part)
    return model(f"grouped ({inputs}) => ({outputs}) <{sizes}> {{ {repeated} {body} }}")


def causal(before, *, rows=2, length=5):
    inputs = draw(before, b=rows, s=length)
    seen = np.tril(np.ones((length, length), bool))
    inputs["mask"] = np.broadcast_to(np.where(seen, 0.0, -np.inf), (rows, 1, length, length)).astype(np.float32)
    inputs["mask"] = inputs["mask"] + np.random.default_rng(1).standard_normal(inputs["mask"].shape).astype(np.float32)
    return inputs


@pytest.mark.parametrize("body", [GROUPED, GROUPED.replace("e, mask", "mask, e").replace("n, c", "c, n")])
@pytest.mark.parametrize(("rows", "length"), [(2, 5), (1, 1)])
def test_groups_are_attended_to_where_the_mask_is_causal(body, rows, length):
    before = grouped(body)

    after, trace = rewritten(before, "grouped-attention")

    assert trace.counts == {"grouped-attention": 1}
    assert {"Softmax", "MatMul"}.isdisjoint(kinds(after))
    node = next(node for node in after.graph if node.op_type == "GroupQueryAttention")
    assert (node.attributes.get_int("num_heads"), node.attributes.get_int("kv_num_heads")) == (6, 2)
    assert error(before, after, causal(before, rows=rows, length=length)) <= LIMIT


def test_where_the_mask_is_not_causal_the_answer_is_another():
    before = grouped()
    after, _ = rewritten(before, "grouped-attention")
    inputs = draw(before, b=2, s=5)

    assert distance(answers(before, inputs)["y"], answers(after, inputs)["y"]) > LIMIT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": GROUPED.replace("m = Add (e, mask)", "").replace("(m)", "(e)")}, "Nothing is masked"),
        ({"inputs": INPUTS.replace("s, 8]", "s, 4]"), "sizes": SIZES.replace("8}", "4}"), "width": 4}, "multiple of 8"),
        (
            {"repeated": "rk = Identity (k) rv = Identity (v)", "inputs": INPUTS.replace("[b, 2,", "[b, 6,")},
            "aren't repeated",
        ),
        ({"more": "float[b, 6, s, s] p"}, "Something else takes a value inside of the pattern."),
    ],
)
def test_groups_say_why_they_decline(change, reason):
    _, trace = rewritten(grouped(**change), "grouped-attention")

    assert [miss.reason for miss in trace.near_misses if reason in miss.reason]
    assert not trace.hits


def test_keys_that_are_repeated_otherwise_are_no_groups():
    sizes = SIZES.replace("two = {2}", "two = {1}").replace("{1, 1, 3, 1, 1}", "{1, 3, 1, 1, 1}")

    assert not rewritten(grouped(sizes=sizes), "grouped-attention")[1].hits
