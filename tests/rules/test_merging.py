"""Products of one value with several weights."""

import onnx_ir as ir
import pytest
from cases.graphs import LIMIT, draw, error, kinds, model, rewritten

WEIGHTS = "float[4, 3] u, float[4, 5] v, float[3] a, float[5] b, float[1] one"
NAMES = {"u", "v", "a", "b", "one"}


def graph(body, *, opset=18, outputs="float[n, 3] p, float[n, 5] q"):
    return model(f"siblings (float[n, 4] x, {WEIGHTS}) => ({outputs}) {{ {body} }}", opset=opset, weights=NAMES)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("p = MatMul (x, u) q = MatMul (x, v)", ["MatMul", "Split"]),
        ("c = MatMul (x, u) d = MatMul (x, v) p = Add (c, a) q = Add (b, d)", ["MatMul", "Add", "Split"]),
        ("c = MatMul (x, u) p = Relu (c) d = MatMul (x, v) q = Relu (d)", ["MatMul", "Split", "Relu", "Relu"]),
        ("p = Gemm (x, u, a) q = Gemm (x, v, b)", ["Gemm", "Split"]),
    ],
)
@pytest.mark.parametrize("opset", [11, 18])
def test_fires(body, left, opset):
    before = graph(body, opset=opset)

    after, trace = rewritten(before, "merged-products")

    assert kinds(after) == left
    assert trace.counts == {"merged-products": 1}
    assert error(before, after, draw(before)) <= LIMIT


def test_the_weights_are_joined_when_they_are_read():
    after, _ = rewritten(graph("p = MatMul (x, u) q = MatMul (x, v)"), "merged-products")

    (packed,) = [value.const_value for name, value in after.graph.initializers.items() if name.endswith("weight")]
    assert isinstance(packed, ir.LazyTensor)
    assert packed.shape == [4, 8]


@pytest.mark.parametrize(
    "body",
    [
        "p = MatMul (x, u) r = Relu (x) q = MatMul (r, v)",
        "c = MatMul (x, u) p = Add (c, a) q = MatMul (x, v)",
        "p = Gemm (x, u, a) q = Gemm <alpha = 2.0> (x, v, b)",
        "p = Gemm (x, u, one) q = Gemm (x, v, b)",
    ],
)
def test_leaves_what_differs(body):
    before = graph(body)

    assert kinds(rewritten(before, "merged-products")[0]) == kinds(before)


def test_leaves_weights_that_callers_give_or_others_take():
    body, outputs = "p = MatMul (x, u) q = MatMul (x, v)", "float[n, 3] p, float[n, 3] q"
    given = model(f"given (float[n, 4] x, float[4, 3] u, float[4, 3] v) => ({outputs}) {{ {body} }}")
    shared = graph(f"{body} r = Relu (u)", outputs="float[n, 3] p, float[n, 5] q, float[4, 3] r")

    assert not rewritten(shared, "merged-products")[1].hits
    assert not rewritten(given, "merged-products")[1].hits
