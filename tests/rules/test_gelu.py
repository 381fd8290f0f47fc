"""Gelu in its spellings, with and without a bias."""

import numpy as np
import onnx_ir as ir
import pytest
from cases.graphs import LIMIT, draw, error, kinds, model, rewritten

NUMBERS = """float half = {0.5}, float one = {1.0}, float root = {1.41421356}, float inverse = {0.70710678},
    float alpha = {1.702}, float cubic = {0.044715}, float three = {3.0}, float slope = {0.79788456}"""
CURVE = "p = Pow (x, three) c = Mul (p, cubic) s = Add (x, c) i = Mul (s, slope) t = Tanh (i) g = Add (t, one)"


def graph(body, *, outputs="float[batch, 4] y", opset=18):
    return model(f"gelu (float[batch, 4] x, float[batch, 4] z) => ({outputs}) <{NUMBERS}> {{ {body} }}", opset=opset)


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ("d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)", "Gelu"),
        ("d = Mul (inverse, x) e = Erf (d) a = Add (one, e) h = Mul (half, x) y = Mul (a, h)", "Gelu"),
        ("d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (half, a) y = Mul (m, x)", "Gelu"),
        (f"{CURVE} h = Mul (x, half) y = Mul (h, g)", "FastGelu"),
        (f"{CURVE.replace('Mul (p, cubic)', 'Mul (cubic, p)')} m = Mul (g, x) y = Mul (half, m)", "FastGelu"),
        ("a = Mul (x, alpha) g = Sigmoid (a) y = Mul (x, g)", "QuickGelu"),
        ("a = Mul (alpha, x) g = Sigmoid (a) y = Mul (g, x)", "QuickGelu"),
    ],
)
def test_fires_in_each_spelling_whatever_the_order(body, made):
    before = graph(body)

    after, trace = rewritten(before, "gelu")

    assert kinds(after) == [made]
    assert trace.counts == {"gelu": 1}
    assert error(before, after, draw(before)) <= LIMIT


@pytest.mark.parametrize(
    "body",
    [
        "d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, one)",
        "d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (z, a) y = Mul (m, half)",
        "d = Div (x, one) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)",
        "d = Div (x, root) e = Erf (d) a = Add (e, half) m = Mul (x, a) y = Mul (m, half)",
        "a = Mul (x, one) g = Sigmoid (a) y = Mul (x, g)",
    ],
)
def test_leaves_what_only_looks_like_it(body):
    before = graph(body)

    after, trace = rewritten(before, "gelu")

    assert kinds(after) == kinds(before)
    assert not trace.hits
    assert not trace.near_misses


def test_declines_when_the_curve_is_an_output():
    body = "d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)"

    after, trace = rewritten(graph(body, outputs="float[batch, 4] y, float[batch, 4] e"), "gelu")

    (miss,) = trace.near_misses
    assert "Erf" in kinds(after)
    assert (miss.rule, miss.culprit) == ("gelu", "e")
    assert "Something else takes" in miss.reason


def test_declines_when_the_factor_is_an_input():
    text = "gelu (float[batch, 4] x, float half) => (float[batch, 4] y) <float one = {1.0}, float root = {1.41421356}>"
    before = model(text + "{ d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half) }")

    assert not rewritten(before, "gelu")[1].hits


def test_writes_the_standard_operator_for_an_engine_without_others():
    body = "d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)"
    before = graph(body, opset=20)

    after, _ = rewritten(before, "gelu", engine="openvino")

    (node,) = after.graph
    assert (node.domain, node.op_type, node.attributes.get_string("approximate")) == ("", "Gelu", "none")
    assert error(before, after, draw(before)) <= LIMIT


@pytest.mark.parametrize(("order", "spelling"), [("x, b", "Gelu"), ("b, x", "Gelu"), ("x, b", "FastGelu")])
def test_a_bias_goes_into_the_node(order, spelling):
    text = f"(float[batch, s, 4] x, float[4] b) => (float[batch, s, 4] y) {{ a = Add ({order}) y = com.microsoft."
    before = model(f"biased {text}{spelling} (a) }}", weights={"b"})

    after, trace = rewritten(before, "bias-gelu")

    assert kinds(after) == ["BiasGelu" if spelling == "Gelu" else "FastGelu"]
    assert trace.counts == {"bias-gelu": 1}
    assert error(before, after, draw(before)) <= LIMIT


def test_a_bias_that_is_a_whole_tensor_stays():
    text = "biased (float[n, 4] x, float[n, 4] b) => (float[n, 4] y)"
    before = model(f"{text} {{ a = Add (x, b) y = com.microsoft.Gelu (a) }}")

    assert kinds(rewritten(before, "bias-gelu")[0]) == ["Add", "Gelu"]


def test_a_wrong_curve_just_beyond_the_limit_is_seen():
    body = "d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)"
    right, wrong = graph(body), graph(body)
    half = wrong.graph.initializers["half"]
    half.const_value = ir.tensor(half.const_value.numpy() * np.float32(1 + 4 * LIMIT), name="half")

    assert error(right, wrong, draw(right)) > LIMIT
