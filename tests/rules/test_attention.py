"""Attention in its spellings, as one node of ONNX Runtime or of ONNX."""

import numpy as np
import pytest
from cases.graphs import LIMIT, answers, draw, error, kinds, model, rewritten

from onnxwright.tolerance import distance

NUMBERS = """float c = {0.5}, float r = {0.70710678}, float d = {2.0}, float zero = {0.0}, float low = {-3.4e38},
    float high = {5.0}, int64[4] heads = {0, 0, 2, 4}, int64[3] joined = {0, 0, 8}"""
SPLIT = """q0 = Reshape (x, heads) q = Transpose <perm = [0, 2, 1, 3]> (q0)
    k0 = Reshape (z, heads) k = Transpose <perm = [0, 2, 3, 1]> (k0) v = Transpose <perm = [0, 2, 1, 3]> (k0)"""
JOIN = "o = Transpose <perm = [0, 2, 1, 3]> (a) y = Reshape (o, joined)"
SIMPLE = ("chains", "reshapes")


def graph(scores, *, mask="", more="", opset=18, x="float[batch, s, 8] x, float[batch, t, 8] z"):
    inputs = ", ".join(part for part in (x, mask) if part)
    outputs = ", ".join(part for part in ("float[batch, s, 8] y", more) if part)
    body = f"{SPLIT} {scores} p = Softmax <axis = -1> (m) a = MatMul (p, v) {JOIN}"
    return model(f"attention ({inputs}) => ({outputs}) <{NUMBERS}> {{ {body} }}", opset=opset)


@pytest.mark.parametrize(
    ("scores", "mask"),
    [
        ("n = MatMul (q, k) m = Mul (n, c)", ""),
        ("n = MatMul (q, k) m = Mul (c, n)", ""),
        ("n = MatMul (q, k) m = Div (n, d)", ""),
        ("g = Mul (q, r) h = Mul (r, k) m = MatMul (g, h)", ""),
        ("n = MatMul (q, k) e = Div (n, d) m = Add (e, bias)", "float[batch, 1, s, t] bias"),
        ("n = MatMul (q, k) e = Div (n, d) m = Add (bias, e)", "float[batch, 2, s, t] bias"),
        ("n = MatMul (q, k) e = Mul (n, c) m = Add (bias, e)", "float[s, t] bias"),
        ("n = MatMul (q, k) e = Mul (n, c) m = Add (e, bias)", "float[batch, 1, 1, t] bias"),
        (
            "n = MatMul (q, k) e = Div (n, d) f = Add (e, bias) m = Add (f, more)",
            "float[2, s, t] bias, float[t] more",
        ),
        ("n = MatMul (q, k) e = Mul (n, c) m = Where (seen, e, low)", "bool[batch, 1, s, t] seen"),
        ("n = MatMul (q, k) m = Where (seen, n, low)", "bool[batch, 1, 1, t] seen"),
        ("n = MatMul (q, k) e = Mul (n, c) m = Where (hidden, low, e)", "bool[batch, 1, s, t] hidden"),
    ],
)
@pytest.mark.parametrize("sizes", [{"batch": 2, "s": 3, "t": 5}, {"batch": 1, "s": 1, "t": 1}])
def test_fires_with_and_without_a_mask(scores, mask, sizes):
    before = graph(scores, mask=mask)

    after, trace = rewritten(before, "attention", *SIMPLE)

    assert kinds(after).count("MultiHeadAttention") == 1
    assert not {"Softmax", "MatMul", "Transpose"} & set(kinds(after))
    assert trace.counts["attention"] == 1
    assert error(before, after, draw(before, **sizes)) <= LIMIT


def test_the_sizes_of_relative_positions_are_followed():
    table = """whole = Shape (x) l = Gather (whole, one) places = Range (nought, l, one)
        i = Unsqueeze (places, ends) j = Unsqueeze (places, first) far = Sub (i, j) e0 = Abs (far) e1 = Min (e0, seven)
        g = Gather (weights, e1) h = Transpose <perm = [2, 0, 1]> (g) bias = Unsqueeze (h, first)
        n = MatMul (q, k) e = Mul (c, n) m = Add (e, bias)"""
    numbers = """int64 one = {1}, int64 nought = {0}, int64 seven = {7}, int64[1] ends = {-1}, int64[1] first = {0},
        float[8, 2] weights = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 3, 5, 7, 9, 2}"""
    body = f"{SPLIT.replace('(z, heads)', '(x, heads)')} {table} p = Softmax <axis = -1> (m) a = MatMul (p, v) {JOIN}"
    before = model(f"relative (float[b, s, 8] x) => (float[b, s, 8] y) <{NUMBERS}, {numbers}> {{ {body} }}")

    after, trace = rewritten(before, "attention", *SIMPLE)

    assert trace.counts["attention"] == 1
    assert error(before, after, draw(before, b=2, s=5)) <= LIMIT


@pytest.mark.parametrize(
    ("scores", "mask", "reason"),
    [
        (
            "n = MatMul (q, k) e = Add (n, bias) m = Mul (e, c)",
            "float[batch, 1, s, t] bias",
            "after they are masked",
        ),
        ("n = MatMul (q, k) m = Mul (n, by)", "float[batch, 1, s, t] by", "scaled by something that isn't a constant"),
        ("n = MatMul (q, k) m = Where (seen, n, high)", "bool[batch, 1, s, t] seen", "replaced by others, not masked"),
        ("n = MatMul (q, k) m = Add (n, bias)", "float[batch, 1, s, u] bias", "has a size u where the scores have t"),
        ("n = MatMul (q, k) m = Relu (n)", "", "come from no product, scaled or masked"),
    ],
)
def test_says_why_it_declines(scores, mask, reason):
    _, trace = rewritten(graph(scores, mask=mask), "attention")

    (miss,) = trace.near_misses
    assert reason in miss.reason
    assert not trace.hits


def test_declines_when_the_weights_are_an_output():
    _, trace = rewritten(graph("n = MatMul (q, k) m = Mul (n, c)", more="float[batch, 2, s, t] p"), "attention")

    assert [(miss.reason, miss.culprit) for miss in trace.near_misses] == [
        ("Something else takes a value inside of the pattern.", "p")
    ]


def test_declines_behind_a_guard_and_fires_without_it():
    body = f"""{SPLIT} n = MatMul (q, k) w = Softmax <axis = -1> (n) i = IsNaN (w) p = Where (i, zero, w)
        a = MatMul (p, v) {JOIN}"""
    text = f"attention (float[b, s, 8] x, float[b, t, 8] z) => (float[b, s, 8] y) <{NUMBERS}> {{ {body} }}"
    before = model(text)

    (miss,) = rewritten(before, "attention")[1].near_misses
    after, trace = rewritten(before, "nan-guard", "attention", *SIMPLE)

    assert "guard against rows that are masked whole" in miss.reason
    assert {name: trace.counts[name] for name in ("nan-guard", "attention")} == {"nan-guard": 1, "attention": 1}
    assert error(before, after, draw(before)) <= LIMIT


GUARDED = f"""{SPLIT} n = MatMul (q, k) m = Add (n, mask) w = Softmax <axis = -1> (m) i = IsNaN (w)
    p = Where (i, zero, w) a = MatMul (p, v) {JOIN}"""
MASKED = "float[b, s, 8] x, float[b, t, 8] z, float[b, 1, s, t] mask"


def test_behind_the_product_the_guard_lets_attention_be_found_and_still_holds():
    before = model(f"attention ({MASKED}) => (float[b, s, 8] y) <{NUMBERS}> {{ {GUARDED} }}")
    after, trace = rewritten(before, "later-guard", "attention", *SIMPLE)
    inputs = draw(before)
    inputs["mask"] = np.where(inputs["mask"] > 0.5, -np.inf, 0.0).astype(np.float32)
    inputs["mask"][0, :, 0] = -np.inf

    assert {name: trace.counts[name] for name in ("later-guard", "attention")} == {"later-guard": 1, "attention": 1}
    expected, answered = answers(before, inputs)["y"], answers(after, inputs)["y"]
    assert not expected[0, 0].any()
    assert distance(expected, answered) <= LIMIT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("zero", "one"), "something else than zero"),
        (("axis = -1", "axis = 1"), "isn't taken over the last axis"),
    ],
)
def test_a_guard_of_another_kind_stays_where_it_is(change, reason):
    body = GUARDED.replace(*change)
    numbers = NUMBERS if "one" not in change else f"{NUMBERS}, float one = {{1.0}}"
    before = model(f"attention ({MASKED}) => (float[b, s, 8] y) <{numbers}> {{ {body} }}")

    (miss,) = rewritten(before, "later-guard")[1].near_misses
    assert reason in miss.reason


def test_a_guarded_softmax_that_is_an_output_too_stays():
    before = model(f"attention ({MASKED}) => (float[b, s, 8] y, float[b, 2, s, t] p) <{NUMBERS}> {{ {GUARDED} }}")

    assert not rewritten(before, "later-guard")[1].hits


def test_the_guard_matters_where_a_row_is_masked_whole():
    body = "m = Add (x, mask) w = Softmax <axis = -1> (m) i = IsNaN (w) y = Where (i, zero, w)"
    before = model(f"guarded (float[n, 4] x, float[n, 4] mask) => (float[n, 4] y) <float zero = {{0.0}}> {{ {body} }}")
    after, _ = rewritten(before, "nan-guard")
    inputs = {"x": draw(before)["x"], "mask": np.full((3, 4), -np.inf, np.float32)}

    assert distance(answers(before, inputs)["y"], answers(after, inputs)["y"]) == float("inf")


def test_leaves_the_guard_of_another_number():
    body = "w = Softmax <axis = -1> (x) i = IsNaN (w) y = Where (i, one, w)"
    before = model(f"guarded (float[n, 4] x) => (float[n, 4] y) <float one = {{1.0}}> {{ {body} }}")

    assert "something else than zero" in rewritten(before, "nan-guard")[1].near_misses[0].reason


def test_leaves_products_of_other_weights():
    before = model("product (float[n, 4] x, float[4, 5] z) => (float[n, 5] y) { y = MatMul (x, z) }")

    assert rewritten(before, "attention")[1].near_misses == ()


@pytest.mark.parametrize("mask", ["", "float[batch, 1, s, t] bias"])
def test_the_native_operator_takes_heads_one_by_one(mask):
    scores = "n = MatMul (q, k) e = Mul (n, c) m = Add (e, bias)" if mask else "n = MatMul (q, k) m = Mul (n, c)"
    before = graph(scores, mask=mask, opset=23)

    after, trace = rewritten(before, "native-attention", *SIMPLE)

    assert kinds(after).count("Attention") == 1
    assert trace.counts["native-attention"] == 1
    assert error(before, after, draw(before, s=3, t=5)) <= LIMIT


def test_the_native_operator_takes_repeated_keys_once():
    repeat = "Unsqueeze ({0}, two) e{0} = Expand (u{0}, many) r{0} = Reshape (e{0}, back)"
    body = f"""uk = {repeat.format("k")} uv = {repeat.format("v")} t = Transpose <perm = [0, 1, 3, 2]> (rk)
        n = MatMul (q, t) m = Mul (n, c) p = Softmax <axis = -1> (m) y = MatMul (p, rv)"""
    numbers = "float c = {0.5}, int64[1] two = {2}, int64[5] many = {1, 1, 3, 1, 1}, int64[4] back = {0, 6, -1, 4}"
    inputs = "float[b, 6, s, 4] q, float[b, 2, s, 4] k, float[b, 2, s, 4] v"
    before = model(f"grouped ({inputs}) => (float[b, 6, s, 4] y) <{numbers}> {{ {body} }}", opset=23)

    after, _ = rewritten(before, "native-attention")

    assert kinds(after) == ["Attention"]
    assert [value.name for value in next(iter(after.graph)).inputs] == ["q", "k", "v"]
    assert error(before, after, draw(before, b=2, s=5)) <= LIMIT


PACKED = "float[b, s, 8] x, float[8, 24] w, float[24] c"
PARTS = "m = MatMul (x, w) a = Add (m, c) q, k, v = Split <axis = -1> (a, widths)"
HEADS = "com.microsoft.MultiHeadAttention <num_heads = 2, scale = 0.4>"


@pytest.mark.parametrize("order", ["m, c", "c, m"])
@pytest.mark.parametrize(("mask", "given"), [("", ""), (", float[b, 1, s, s] bias", ", , , bias")])
def test_attention_takes_the_product_before_it(order, mask, given):
    body = f"{PARTS.replace('m, c', order)} y = {HEADS} (q, k, v{given})"
    text = f"packed ({PACKED}{mask}) => (float[b, s, 8] y) <int64[3] widths = {{8, 8, 8}}> {{ {body} }}"
    before = model(text, weights={"w", "c"})

    after, trace = rewritten(before, "packed-attention")

    assert kinds(after) == ["Attention"]
    assert trace.counts == {"packed-attention": 1}
    assert error(before, after, draw(before, b=2, s=5)) <= LIMIT


def test_attention_leaves_a_product_whose_parts_are_not_equal_or_are_outputs():
    narrow = f"{PARTS} y = {HEADS} (q, k, v)"
    text = f"packed ({PACKED}) => (float[b, s, y] y) <int64[3] widths = {{10, 10, 4}}> {{ {narrow} }}"
    seen = f"packed ({PACKED}) => (float[b, s, 8] y, float[b, s, 8] k) <int64[3] widths = {{8, 8, 8}}> {{ {narrow} }}"
    reasons = [
        miss.reason
        for one in (text, seen)
        for miss in rewritten(model(one, weights={"w", "c"}), "packed-attention")[1].near_misses
    ]

    assert reasons == [
        "Query, key and value aren't equally wide.",
        "Something else takes a value inside of the pattern.",
    ]


def test_a_mask_that_is_dropped_would_be_seen():
    before = graph("n = MatMul (q, k) e = Mul (n, c) m = Add (e, bias)", mask="float[batch, 1, s, t] bias")
    after, _ = rewritten(before, "attention", *SIMPLE)
    (node,) = [node for node in after.graph if node.op_type == "MultiHeadAttention"]
    node.replace_input_with(5, None)

    assert error(before, after, draw(before)) > LIMIT


def test_a_key_is_transposed_where_it_is():
    body = "f = Reshape (x, flat) t = Transpose <perm = [0, 2, 1]> (f) y = Reshape (t, back)"
    numbers = "int64[3] flat = {-1, 3, 4}, int64[4] back = {-1, 2, 4, 3}"
    before = model(f"keys (float[n, 2, 3, 4] x) => (float[n, 2, 4, 3] y) <{numbers}> {{ {body} }}")

    after, _ = rewritten(before, "batched-transposes")

    (node,) = after.graph
    assert list(node.attributes.get_ints("perm")) == [0, 1, 3, 2]
    assert error(before, after, draw(before)) == 0


def test_a_transpose_that_mixes_batches_stays():
    body = "f = Reshape (x, flat) t = Transpose <perm = [0, 2, 1]> (f) y = Reshape (t, back)"
    numbers = "int64[3] flat = {-1, 6, 4}, int64[4] back = {-1, 2, 4, 3}"
    before = model(f"keys (float[n, 2, 3, 4] x) => (float[n, 2, 4, 3] y) <{numbers}> {{ {body} }}")

    assert "more than a transpose" in rewritten(before, "batched-transposes")[1].near_misses[0].reason


def test_masks_of_which_nothing_is_known_are_told():
    before = graph("n = MatMul (q, k) e = Mul (n, c) m = Add (e, bias)", mask="float[batch, 1, s, t] bias")
    before.graph.inputs[2].shape = None

    assert "The sizes of the mask aren't known." in rewritten(before, "attention")[1].near_misses[0].reason
