"""Layer normalization and its kin, written out."""

import pytest
from cases.graphs import LIMIT, draw, error, kinds, model, rewritten

WEIGHTS = {"w", "b"}
NUMBERS = "float e = {1e-5}, float two = {2.0}, float one = {1.0}, int64[1] last = {-1}, int64[1] first = {1}"
CENTRED = "m = ReduceMean (x, last) d = Sub (x, m)"
SQUARED = f"{CENTRED} q = Mul (d, d)"
ROOT = "v = ReduceMean (q, last) a = Add (v, e) r = Sqrt (a)"


def graph(body, *, x="float[batch, s, 8] x", y="float[batch, s, 8] y", opset=18):
    text = f"norm ({x}, float[8] w, float[8] b) => ({y}) <{NUMBERS}> {{ {body} }}"
    return model(text, opset=opset, weights=WEIGHTS)


@pytest.mark.parametrize(
    "body",
    [
        f"{CENTRED} q = Pow (d, two) {ROOT} n = Div (d, r) y = Mul (n, w)",
        f"{SQUARED} {ROOT.replace('v, e', 'e, v')} n = Div (d, r) y = Mul (w, n)",
        f"{SQUARED} {ROOT} i = Reciprocal (r) n = Mul (d, i) y = Mul (n, w)",
        f"{CENTRED} g = Sub (x, m) q = Mul (g, g) {ROOT} n = Div (d, r) y = Mul (n, w)",
    ],
)
def test_layer_norm_fires_in_each_spelling(body):
    before = graph(body)

    after, trace = rewritten(before, "layer-norm")

    assert kinds(after) == ["LayerNormalization"]
    assert trace.counts == {"layer-norm": 1}
    assert error(before, after, draw(before)) <= LIMIT


@pytest.mark.parametrize("order", ["n, b", "b, n"])
def test_layer_norm_takes_its_bias(order):
    body = (
        f"{CENTRED} q = Mul (d, d) v = ReduceMean (q, last) a = Add (v, e) r = Sqrt (a) i = Div (d, r) n = Mul (i, w)"
    )
    before = graph(f"{body} y = Add ({order})")

    after, _ = rewritten(before, "layer-norm")

    assert kinds(after) == ["LayerNormalization"]
    assert len(next(iter(after.graph)).inputs) == 3
    assert error(before, after, draw(before)) <= LIMIT


def test_layer_norm_is_left_over_another_axis():
    body = (
        "m = ReduceMean (x, first) d = Sub (x, m) q = Mul (d, d) v = ReduceMean (q, first) a = Add (v, e) r = Sqrt (a)"
    )

    assert not rewritten(graph(f"{body} n = Div (d, r) y = Mul (n, w)"), "layer-norm")[1].hits


def test_layer_norm_declines_when_the_mean_is_an_output():
    body = (
        f"{CENTRED} q = Mul (d, d) v = ReduceMean (q, last) a = Add (v, e) r = Sqrt (a) n = Div (d, r) y = Mul (n, w)"
    )

    _, trace = rewritten(graph(body, y="float[batch, s, 8] y, float[batch, s, 1] m"), "layer-norm")

    assert [(miss.rule, miss.culprit) for miss in trace.near_misses] == [("layer-norm", "m")]


def test_layer_norm_declines_a_scale_for_each_row():
    text = f"norm (float[n, 8] x, float[n, 8] w) => (float[n, 8] y) <{NUMBERS}>"
    before = model(f"{text} {{ {SQUARED} {ROOT} n = Div (d, r) y = Mul (n, w) }}")

    (miss,) = rewritten(before, "layer-norm")[1].near_misses

    assert "The scale isn't known to be one number a column." in miss.reason


ROOT_MEAN_SQUARE = "q = Pow (x, two) v = ReduceMean (q, last) a = Add (v, e) r = Sqrt (a)"


@pytest.mark.parametrize(
    "body",
    [
        f"{ROOT_MEAN_SQUARE} i = Reciprocal (r) n = Mul (x, i) y = Mul (w, n)",
        f"{ROOT_MEAN_SQUARE} i = Div (one, r) n = Mul (i, x) y = Mul (n, w)",
        f"{ROOT_MEAN_SQUARE} n = Div (x, r) y = Mul (w, n)",
    ],
)
def test_rms_norm_fires_in_each_spelling(body):
    before = graph(body)

    after, trace = rewritten(before, "rms-norm")

    assert kinds(after) == ["SimplifiedLayerNormalization"]
    assert trace.counts == {"rms-norm": 1}
    assert error(before, after, draw(before)) <= LIMIT


def test_rms_norm_declines_when_the_mean_square_is_an_output():
    body = f"{ROOT_MEAN_SQUARE} n = Div (x, r) y = Mul (w, n)"

    _, trace = rewritten(graph(body, y="float[batch, s, 8] y, float[batch, s, 1] v"), "rms-norm")

    assert [miss.culprit for miss in trace.near_misses] == ["v"]


def test_rms_norm_declines_a_scale_that_broadcasts_what_is_normalized():
    before = graph(f"q = Mul (x, x) {ROOT} n = Div (x, r) y = Mul (n, w)", x="float[batch, s, 1] x")

    after, _ = rewritten(before, "rms-norm")

    assert kinds(after) == kinds(before)


def test_rms_norm_leaves_what_is_not_squared():
    body = "v = ReduceMean (x, last) a = Add (v, e) r = Sqrt (a) n = Div (x, r) y = Mul (w, n)"

    assert not rewritten(graph(body), "rms-norm")[1].hits


TWO = "float[batch, s, 8] x, float[batch, s, 8] z"


@pytest.mark.parametrize("order", ["x, z", "z, x"])
@pytest.mark.parametrize("outputs", ["float[batch, s, 8] y", "float[batch, s, 8] y, float[batch, s, 8] t"])
def test_skip_norm_fires_and_hands_the_sum_on(order, outputs):
    before = graph(f"t = Add ({order}) y = LayerNormalization (t, w, b)", x=TWO, y=outputs)

    after, trace = rewritten(before, "skip-norm")

    assert kinds(after) == ["SkipLayerNormalization"]
    assert trace.counts == {"skip-norm": 1}
    assert error(before, after, draw(before)) <= LIMIT


def test_skip_norm_fires_where_the_sum_is_taken_before_the_norm():
    before = graph("t = Add (x, z) u = Relu (t) n = LayerNormalization (t, w, b) y = Add (n, u)", x=TWO)

    after, _ = rewritten(before, "skip-norm")

    assert sorted(kinds(after)) == ["Add", "Relu", "SkipLayerNormalization"]
    assert error(before, after, draw(before)) <= LIMIT


@pytest.mark.parametrize("order", ["x, c", "c, x"])
@pytest.mark.parametrize("sides", ["a, z", "z, a"])
def test_skip_norm_takes_a_bias_before_the_sum(order, sides):
    text = f"norm ({TWO}, float[8] w, float[8] b, float[8] c) => (float[batch, s, 8] y) {{ a = Add ({order})"
    body = f"t = Add ({sides}) y = LayerNormalization (t, w, b) }}"
    before = model(f"{text} {body}", weights={"w", "b", "c"})

    after, trace = rewritten(before, "skip-norm", "biased-skip-norm")

    assert kinds(after) == ["SkipLayerNormalization"]
    assert trace.counts == {"skip-norm": 1, "biased-skip-norm": 1}
    assert error(before, after, draw(before)) <= LIMIT


def test_skip_norm_leaves_a_bias_that_is_a_tensor_or_an_output():
    body = "a = Add (x, v) t = Add (a, z) y = LayerNormalization (t, w, b)"
    tensor = graph(body.replace("v)", "x)"), x=TWO)
    seen = graph(body.replace("v)", "b)"), x=TWO, y="float[batch, s, 8] y, float[batch, s, 8] a")

    assert "Add" in kinds(rewritten(tensor, "skip-norm", "biased-skip-norm")[0])
    assert "Add" in kinds(rewritten(seen, "skip-norm", "biased-skip-norm")[0])


@pytest.mark.parametrize("other", ["float[1, s, 8] z", "float[s, 8] z"])
@pytest.mark.parametrize("order", ["x, z", "z, x"])
def test_skip_norm_takes_what_is_the_same_for_all_rows(order, other):
    body = f"t = Add ({order}) y = LayerNormalization (t, w, b)"
    before = graph(body, x=f"float[batch, s, 8] x, {other}", y="float[batch, s, 8] y, float[batch, s, 8] t")

    after, _ = rewritten(before, "skip-norm")

    assert kinds(after) == ["SkipLayerNormalization"]
    assert [value.name for value in next(iter(after.graph)).inputs[:2]] == ["x", "z"]
    assert error(before, after, draw(before, batch=3, s=5)) <= LIMIT


@pytest.mark.parametrize("other", ["float[batch, 1, 8] z", "float[r, s, 8] z", "float[8] z"])
def test_skip_norm_declines_what_is_broadcast_otherwise(other):
    before = graph("t = Add (x, z) y = LayerNormalization (t, w, b)", x=f"float[batch, s, 8] x, {other}")

    (miss,) = rewritten(before, "skip-norm")[1].near_misses

    assert "aren't known to have the same three axes" in miss.reason


def test_what_is_the_same_for_all_rows_stays_the_second_when_it_has_a_bias():
    text = "norm (float[batch, s, 8] x, float[1, s, 8] z, float[8] w, float[8] b, float[8] c) => (float[batch, s, 8] y)"
    body = "{ a = Add (z, c) t = Add (x, a) y = LayerNormalization (t, w, b) }"
    before = model(f"{text} {body}", weights={"w", "b", "c"})

    after, trace = rewritten(before, "skip-norm", "biased-skip-norm")

    assert kinds(after) == ["Add", "SkipLayerNormalization"]
    assert "isn't known to be as large as the other" in trace.near_misses[-1].reason
    assert error(before, after, draw(before, batch=3, s=5)) <= LIMIT
