"""Products of rows and heads are taken where they are, without one axis of both."""

import pytest
from cases.graphs import LIMIT, draw, error, kinds, model, rewritten

from onnxwright.graph.optimizing import Plan, apply
from onnxwright.graph.targets import target

INPUTS = "float[b, 3, s, 8] q, float[b, 3, s, 8] k, float[b, 3, s, 8] v"
SHAPE = """whole = Shape (q) s0 = Gather (whole, two) s1 = Unsqueeze (s0, nought) eight = Shape <start = 3> (q)
    flat = Concat <axis = 0> (any, s1, eight) square = Concat <axis = 0> (any, heads, s1, s1)
    narrow = Concat <axis = 0> (any, s1, s1) back = Concat <axis = 0> (any, heads, s1, eight)"""
FLAT = "fq = Reshape (q, flat) fk = Reshape (k, flat) fv = Reshape (v, flat)"
SCORES = "t = Transpose <perm = [0, 2, 1]> (fk) n = MatMul (fq, t)"
ATTENDED = """w = Reshape (m, square) p = Softmax <axis = -1> (w) fp = Reshape (p, narrow) a = MatMul (fp, fv)
    y = Reshape (a, back)"""
SIMPLE = ("chains", "reshapes", "sizes-once")
ATTENDING = Plan("attending", ("batched-products", *SIMPLE, "attention"))


def graph(scores, *, more="", outputs="float[b, 3, s, 8] y", opset=18, inputs=INPUTS, attended=ATTENDED):
    numbers = "float half = {0.5}, int64 two = {2}, int64[1] any = {-1}, int64[1] heads = {3}, int64[1] nought = {0}"
    body = f"{SHAPE} {FLAT} {SCORES} {scores} {attended}"
    return model(f"bmm ({inputs}{more}) => ({outputs}) <{numbers}> {{ {body} }}", opset=opset)


@pytest.mark.parametrize(
    ("scores", "more"),
    [
        ("m = Mul (n, half)", ""),
        ("m = Mul (half, n)", ""),
        ("m = Div (n, half)", ""),
        ("e = Div (n, half) m = Add (e, bias)", ", float[b3, s, s] bias"),
    ],
)
@pytest.mark.parametrize("sizes", [{"b": 2, "s": 5}, {"b": 1, "s": 1}])
def test_fires_and_lets_attention_be_found(scores, more, sizes):
    scores = scores.replace("bias", "joined") if more else scores
    before = graph(f"joined = Reshape (bias, narrow) {scores}" if more else scores, more=more.replace("[b3,", "[b, 3,"))

    after, trace = apply(before, ATTENDING, target("onnxruntime"))

    assert trace.counts["attention"] == 1
    assert {"Softmax", "MatMul"}.isdisjoint(kinds(after))
    assert error(before, after, draw(before, **sizes)) <= LIMIT


def test_a_sum_with_what_is_computed_for_rows_and_heads_together_is_taken_apart():
    scores = "z = Abs (n) m = Add (z, n)"
    before = graph(scores)

    after, trace = rewritten(before, "batched-products", *SIMPLE)

    assert trace.counts["batched-products"] >= 3
    assert error(before, after, draw(before, b=2, s=5)) <= LIMIT


@pytest.mark.parametrize(
    ("scores", "more"),
    [
        ("m = Mul (n, by)", ", float[b, s, s] by"),
        ("m = Add (n, bias)", ", float[1, s, s] bias"),
    ],
)
def test_leaves_scores_that_something_else_is_done_to(scores, more):
    before = graph(scores, more=more)

    after, trace = apply(before, ATTENDING, target("onnxruntime"))

    assert "attention" not in trace.counts
    assert "Softmax" in kinds(after)


def test_leaves_an_opset_that_can_not_ask_for_one_size():
    text = f"bmm ({INPUTS}) => (float[c, s, s] y) <int64[3] flat = {{-1, 0, 8}}> {{ {FLAT} {SCORES} y = Relu (n) }}"

    assert not rewritten(model(text, opset=14), "batched-products")[1].hits


@pytest.mark.parametrize("shape", ["{-1, 2, 8}", "{-1, 6, 4}"])
def test_leaves_reshapes_that_join_other_axes(shape):
    text = f"""bmm (float[b, 3, 4, 8] q, float[b, 3, 4, 8] k) => (float[c, d, e] y) <int64[3] flat = {shape}> {{
        fq = Reshape (q, flat) fk = Reshape (k, flat) t = Transpose <perm = [0, 2, 1]> (fk) y = MatMul (fq, t) }}"""

    assert not rewritten(model(text), "batched-products")[1].hits


def test_the_scores_may_be_an_output():
    before = graph("m = Mul (n, half)", outputs="float[b, 3, s, 8] y, float[c, s, s] n")

    after, trace = apply(before, ATTENDING, target("onnxruntime"))

    assert "attention" not in trace.counts
    assert error(before, after, draw(before, b=2, s=5)) <= LIMIT
