"""Graphs in float16 are rewritten like those in float32, also where some of it is computed in float32."""

import numpy as np
import pytest
from cases.graphs import answers, draw, error, kinds, model, rewritten

from onnxwright.graph.precision.floats import lowered

NUMBERS = """float half = {0.5}, float one = {1.0}, float root = {1.41421356}, float alpha = {1.702}, float e = {1e-5},
    float cubic = {0.044715}, float three = {3.0}, float two = {2.0}, float slope = {0.79788456}, int64[1] last = {-1},
    float near = {1.71}, float low = {-3.4e38}, float eighth = {0.125}, float none = {0.0}"""
SPELLED = {
    "Gelu": "d = Div (x, root) f = Erf (d) a = Add (f, one) m = Mul (x, a) y = Mul (m, half)",
    "FastGelu": """p = Pow (x, three) c = Mul (p, cubic) s = Add (x, c) i = Mul (s, slope) t = Tanh (i)
        g = Add (t, one) m = Mul (g, x) y = Mul (half, m)""",
    "QuickGelu": "a = Mul (x, alpha) g = Sigmoid (a) y = Mul (x, g)",
    "SimplifiedLayerNormalization": """q = Pow (x, two) v = ReduceMean (q, last) a = Add (v, e) r = Sqrt (a)
        i = Reciprocal (r) n = Mul (x, i) y = Mul (w, n)""",
    "LayerNormalization": """m = ReduceMean (x, last) d = Sub (x, m) q = Mul (d, d) v = ReduceMean (q, last)
        a = Add (v, e) r = Sqrt (a) n = Div (d, r) y = Mul (n, w)""",
    "SkipLayerNormalization": "s = Add (x, z) y = LayerNormalization <axis = -1> (s, w)",
}
RULES = {
    **dict.fromkeys(("Gelu", "FastGelu", "QuickGelu"), "gelu"),
    "SimplifiedLayerNormalization": "rms-norm",
    "LayerNormalization": "layer-norm",
    "SkipLayerNormalization": "skip-norm",
}


def graph(body):
    rows = "float[batch, s, 8]"
    return model(f"g ({rows} x, {rows} z, float[8] w) => ({rows} y) <{NUMBERS}> {{ {body} }}", weights={"w"})


def in_half(before):
    """The graph in float16, with what has to stay in float32; inputs and outputs are float32."""
    return lowered(before, "float16", None).model


@pytest.mark.parametrize("made", SPELLED)
def test_what_is_one_node_in_float32_is_in_float16(made):
    whole = graph(SPELLED[made])
    half = in_half(whole)

    after, trace = rewritten(half, RULES[made])

    assert trace.counts == {RULES[made]: 1}
    assert sorted({*kinds(after)} - {"Cast"}) == [made]
    given = draw(whole)
    assert error(whole, after, given) <= max(error(whole, half, given), 2**-10)


def test_a_number_that_float16_tells_apart_is_another():
    body = SPELLED["QuickGelu"].replace("alpha", "near")

    assert not rewritten(in_half(graph(body)), "gelu")[1].hits


def test_a_sum_that_stays_in_float32_is_normalized_as_float16_has_it():
    body = SPELLED["SimplifiedLayerNormalization"].replace("(x", "(s").replace("(x, i)", "(s, i)")
    whole = graph(f"b = Add (x, z) s = Add (b, x) {body}")
    last = [node.name for node in lowered(whole, "float16", None).model.graph if node.op_type == "Add"][1]
    half = lowered(whole, "float16", None, kept={last: "it overflows"}).model

    after, trace = rewritten(half, "rms-norm")

    assert trace.counts == {"rms-norm": 1}
    assert kinds(after).count("Add") == 2
    assert error(whole, after, draw(whole)) <= 2**-9


def test_what_is_float32_but_for_the_answer_declines():
    rows = "float[batch, s, 8]"
    body = SPELLED["SimplifiedLayerNormalization"].replace("y = Mul (w, n)", "h = Cast <to = 10> (n) y = Mul (v, h)")
    body = body.replace("v = ReduceMean", "k = ReduceMean").replace("Add (v, e)", "Add (k, e)")
    before = model(f"g ({rows} x, float16[8] v) => (float16[batch, s, 8] y) <{NUMBERS}> {{ {body} }}")

    (miss,) = rewritten(before, "rms-norm")[1].near_misses

    assert (miss.reason, miss.culprit) == ("What is normalized is of another type than the answer.", "x")


HEADED = "float[b, 2, n, 4]"
MASKED = "k = Transpose <perm = [0, 1, 3, 2]> (x) p = MatMul (x, k) h = Mul (p, eighth)"


@pytest.mark.parametrize(
    "body",
    [
        f"{MASKED} s = Softmax (h) y = MatMul (s, z)",
        f"{MASKED} c = Where (keep, none, low) a = Add (h, c) s = Softmax (a) y = MatMul (s, z)",
        f"{MASKED} c = Where (keep, h, low) s = Softmax (c) y = MatMul (s, z)",
    ],
)
@pytest.mark.parametrize("least", ["-3.4e38", "-1e30"])
def test_attention_that_is_masked_in_float32_is_one_node(body, least):
    numbers = NUMBERS.replace("-3.4e38", least)
    text = f"g ({HEADED} x, {HEADED} z, bool[b, 1, n, n] keep) => ({HEADED} y) <{numbers}> {{ {body} }}"
    whole = model(text)
    half = in_half(whole)
    given = {**draw(whole), "keep": np.tril(np.ones((3, 1, 3, 3), bool))}

    after, trace = rewritten(half, "attention")

    assert trace.counts == {"attention": 1}
    assert "Softmax" not in kinds(after)
    assert np.isfinite(answers(after, given)["y"]).all()
    assert error(whole, after, given) <= max(error(whole, half, given), 2**-9)


def test_a_row_that_is_masked_whole_in_float32_is_for_the_proof_to_see():
    """What float16 adds at most doesn't hide the scores from each other, as float32's does."""
    body = f"{MASKED} c = Where (keep, none, low) a = Add (h, c) s = Softmax (a) y = MatMul (s, z)"
    whole = model(f"g ({HEADED} x, {HEADED} z, bool[b, 1, n, n] keep) => ({HEADED} y) <{NUMBERS}> {{ {body} }}")
    given = {**draw(whole), "keep": np.zeros((3, 1, 3, 3), bool)}

    after, _ = rewritten(in_half(whole), "attention")

    assert np.isfinite(answers(after, given)["y"]).all()
    assert error(whole, after, given) > 0.1
    assert error(whole, after, {**given, "keep": ~given["keep"]}) <= 2**-9


def test_scores_that_stay_in_float32_decline():
    body = f"{MASKED} s = Softmax (h) y = MatMul (s, z)"
    whole = model(f"g ({HEADED} x, {HEADED} z) => ({HEADED} y) <{NUMBERS}> {{ {body} }}")
    product = next(node.name for node in lowered(whole, "float16", None).model.graph if node.op_type == "MatMul")
    half = lowered(whole, "float16", None, kept={product: "it overflows"}).model

    (miss,) = rewritten(half, "attention")[1].near_misses

    assert "is of another type than the query." in miss.reason


def test_bfloat16_declines():
    whole = model(
        f"g ({HEADED} x, {HEADED} z) => ({HEADED} y) <{NUMBERS}> {{ {MASKED} s = Softmax (h) y = MatMul (s, z) }}"
    )

    (miss,) = rewritten(lowered(whole, "bfloat16", None).model, "attention")[1].near_misses

    assert miss.reason == "The query isn't known to be float32 or float16."
