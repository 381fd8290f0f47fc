"""Products of rows and heads are taken where they are, without one axis of both."""

import pytest
from cases.graphs import LIMIT, draw, error, kinds, model, rewritten

from onnxwright.graph.comparing import structure
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


def test_once_is_enough():
    before = graph("z = Abs (n) e = Div (n, half) d = Mul (e, half) m = Add (z, d)")
    once, _ = apply(before, ATTENDING, target("onnxruntime"))

    twice, trace = apply(once, ATTENDING, target("onnxruntime"))

    assert structure(once) == structure(twice)
    assert not trace.steps


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


TABLE = """whole = Shape (q) rows = Gather (whole, nought) ones = Concat <axis = 0> (one, one)
    times = Concat <axis = 0> (rows, ones) z = Neg (table) many = Tile (z, times)"""


def repeated(body, *, table="float[3, 5, 8] table", outputs="float[c, s, 5] y", times=TABLE):
    numbers = """int64[1] nought = {0}, int64[1] one = {1}, int64[3] flat = {-1, 4, 8}, int64[3] twice = {2, 1, 1},
        int64[3] along = {1, 1, 2}"""
    inputs = f"float[b, 3, 4, 8] q, {table}"
    return model(f"rel ({inputs}) => ({outputs}) <{numbers}> {{ {times} fq = Reshape (q, flat) {body} }}")


@pytest.mark.parametrize("sizes", [{"b": 2}, {"b": 1}])
def test_a_table_that_is_repeated_for_each_row_is_multiplied_as_it_is(sizes):
    before = repeated("t = Transpose <perm = [0, 2, 1]> (many) y = MatMul (fq, t)")

    after, _ = rewritten(before, "batched-products", *SIMPLE)

    assert "Tile" not in kinds(after)
    assert error(before, after, draw(before, **sizes)) <= LIMIT


def test_a_table_that_needs_no_transpose_is_multiplied_as_it_is():
    before = repeated("y = MatMul (fq, many)", table="float[3, 8, 5] table")

    after, _ = rewritten(before, "batched-products", *SIMPLE)

    assert "Tile" not in kinds(after)
    assert error(before, after, draw(before, b=2)) <= LIMIT


ALL = """whole = Shape <end = 2> (q) n = ReduceProd <keepdims = 1> (whole) ones = Concat <axis = 0> (one, one)
    times = Concat <axis = 0> (n, ones)"""


@pytest.mark.parametrize(
    ("table", "times", "sizes"),
    [
        ("float[6, 8, 5] table", "times = Identity (twice)", {"b": 4}),
        ("float[n, 8, 5] table", "times = Identity (twice)", {"b": 2, "n": 3}),
        ("float[3, 8, 5] table", "times = Identity (twice)", {"b": 2}),
        ("float[1, 8, 5] table", ALL, {"b": 2}),
    ],
)
def test_leaves_tables_that_are_repeated_otherwise(table, times, sizes):
    before = repeated("y = MatMul (fq, many)", table=table, times=f"{times} many = Tile (table, times)")

    after, _ = rewritten(before, "batched-products", *SIMPLE)

    assert "Tile" in kinds(after)
    assert error(before, after, draw(before, **sizes)) <= LIMIT


def test_leaves_the_transpose_of_what_is_repeated_along_another_axis():
    before = model("""rel (float[b, 4, 8] q) => (float[b, 16, 4] y) <int64[3] along = {1, 1, 2}> {
        many = Tile (q, along) y = Transpose <perm = [0, 2, 1]> (many) }""")

    after, _ = rewritten(before, "batched-products")

    assert kinds(after) == ["Tile", "Transpose"]
