"""Of an axis of which one place is taken in the end, no more is computed than is needed for that place."""

import numpy as np
import pytest
from cases.graphs import LIMIT, answers, draw, error, kinds, model, rewritten
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnxwright.graph.comparing import structure
from onnxwright.graph.sizes import sizes_of

OPSET = 17
"""The last in which reductions have their axes as an attribute."""
WEIGHTS = ["w", "wq", "wk", "wv", "bias", "scale"]
HELD = ", ".join(f"float[8, 8] {name}" for name in WEIGHTS[:4]) + ", float[8] bias, float[8] scale"
ATTENTION = """q = MatMul (x, wq) k = MatMul (x, wk) v = MatMul (x, wv)
    rq = Reshape (q, apart) rk = Reshape (k, apart) rv = Reshape (v, apart)
    tq = Transpose <perm = [0, 2, 1, 3]> (rq) tk = Transpose <perm = [0, 2, 3, 1]> (rk)
    tv = Transpose <perm = [0, 2, 1, 3]> (rv)
    n = MatMul (tq, tk) m = Add (n, mask) p = Softmax <axis = -1> (m) a = MatMul (p, tv)
    ta = Transpose <perm = [0, 2, 1, 3]> (a) ra = Reshape (ta, together)
    r = Add (ra, x) h = LayerNormalization <axis = -1> (r, scale, bias)"""
NUMBERS = "int64[4] apart = {0, 0, 2, 4}, int64[3] together = {0, 0, 8}, int64 first = {0}, int64 last = {-1}"
"""Also what is taken: the first place, or the last."""


def graph(body, *, outputs="float[b, 8] y", more="", numbers=NUMBERS):
    inputs = f"float[b, s, 8] x, float[b, 1, s, s] mask{more}, {HELD}"
    return model(f"g ({inputs}) => ({outputs}) <{numbers}> {{ {body} }}", weights=WEIGHTS, opset=OPSET)


def narrowed(before):
    return rewritten(before, "needed-place")


def product(made, number):
    """The sizes of what a product answers."""
    return sizes_of([node for node in made.graph if node.op_type == "MatMul"][number].outputs[0])


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("sizes", [{"b": 1, "s": 1}, {"b": 2, "s": 5}])
def test_the_last_layer_computes_its_queries_at_one_place(place, sizes):
    before = graph(f"{ATTENTION} f = MatMul (h, w) g = Relu (f) y = Gather <axis = 1> (g, {place})")

    after, trace = narrowed(before)

    assert trace.counts == {"needed-place": 1}
    products = {node.inputs[1].name: sizes_of(node.outputs[0]) for node in after.graph if node.op_type == "MatMul"}
    assert products["wq"] == products["w"] == ("b", 1, 8)
    assert products["wk"] == products["wv"] == ("b", "s", 8)
    assert product(after, 3) == ("b", 2, 1, "s")
    assert error(before, after, draw(before, **sizes)) <= LIMIT


@pytest.mark.parametrize(
    ("part", "is_narrowed"),
    [
        ("nought, one, along", True),
        ("nought, one, along, one", True),
        ("minus, all, along, one", True),
        ("one, two, along", False),
        ("nought, two, along", False),
        ("minus, all, along, minus", False),
    ],
)
def test_a_slice_of_the_first_place_or_the_last_is_one_too(part, is_narrowed):
    numbers = f"{NUMBERS}, int64[1] nought = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] along = {{1}}"
    numbers += ", int64[1] minus = {-1}, int64[1] all = {9223372036854775807}"
    body = f"{ATTENTION} f = MatMul (h, w) g = Relu (f) y = Slice (g, {part})"
    before = graph(body, outputs="float[b, p, 8] y", numbers=numbers)

    after, trace = narrowed(before)

    assert ("needed-place" in trace.counts) == is_narrowed
    for sizes in ({"b": 2, "s": 5}, {"b": 1, "s": 1}):
        assert error(before, after, draw(before, **sizes)) <= LIMIT


def test_once_is_enough():
    before = graph(f"{ATTENTION} y = Gather <axis = 1> (h, first)")
    once, _ = narrowed(before)

    twice, trace = narrowed(once)

    assert structure(once) == structure(twice)
    assert "needed-place" not in trace.counts


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("h = MatMul (x, w) y = Gather <axis = 1> (h, first)", "float[b, 8] y, float[b, s, 8] h"),
        ("h = MatMul (x, w) y = Gather <axis = 1> (h, first) z = ReduceMean <axes = [1]> (h)", "float[b, 8] y, t z"),
        ("h = MatMul (x, w) y = Gather <axis = 1> (h, first) z = Gather <axis = 1> (h, last)", "float[b, 8] y, t z"),
        ("h = MatMul (x, w) z = Shape (h) y = Gather <axis = 1> (h, first)", "float[b, 8] y, int64[3] z"),
        ("h = MatMul (x, w) p = Softmax <axis = 1> (h) y = Gather <axis = 1> (p, first)", "float[b, 8] y"),
        ("h = MatMul (x, w) p = CumSum (h, one) y = Gather <axis = 1> (p, first)", "float[b, 8] y"),
        ("h = MatMul (x, w) y = Gather <axis = 2> (h, first)", "float[b, s] y"),
        ("h = MatMul (x, w) r = Reshape (h, swept) y = Gather <axis = 0> (r, first)", "float[8] y"),
        ("h = Relu (x) y = Gather <axis = 1> (h, first)", "float[b, 8] y"),
    ],
)
def test_declines_what_needs_more_and_what_gains_nothing(body, outputs):
    outputs = outputs.replace("t z", "float[b, p, 8] z" if "Reduce" in body else "float[b, 8] z")
    before = graph(body, outputs=outputs, numbers=f"{NUMBERS}, int64[2] swept = {{-1, 8}}, int64 one = {{1}}")

    after, trace = narrowed(before)

    assert "needed-place" not in trace.counts
    assert kinds(after) == kinds(before)


def test_a_place_that_is_computed_of_the_input_is_left():
    body = "h = MatMul (x, w) y = Gather <axis = 1> (h, place)"

    _, trace = narrowed(graph(body, more=", int64 place"))

    assert "needed-place" not in trace.counts


def test_what_had_no_such_place_has_none_afterwards():
    before = graph("h = MatMul (x, w) y = Gather <axis = 1> (h, fourth)", numbers=f"{NUMBERS}, int64 fourth = {{3}}")
    after, _ = narrowed(before)

    assert error(before, after, draw(before, b=2, s=4)) <= LIMIT
    for one in (before, after):
        with pytest.raises(Exception, match="out of data bounds"):
            answers(one, draw(before, b=2, s=3))


TURN = "{name} = Transpose <perm = [0, 2, 1]> ({x})"
NORM = "{name} = LayerNormalization <axis = -1> ({x}, scale, bias)"
PRODUCT = "{name} = MatMul ({x}, {other})"
STEPS = (
    TURN,
    NORM,
    PRODUCT,
    "{name} = MatMul ({x}, w)",
    "{name} = Add ({x}, bias)",
    "{name} = Mul ({x}, {other})",
    "{name} = Where (positive, {x}, {other})",
    "{name} = LayerNormalization <axis = 1> ({x}, whole, whole)",
    "{name} = Softmax <axis = -1> ({x})",
    "{name} = Softmax <axis = 1> ({x})",
    "{name}_r = ReduceMax <keepdims = 1, axes = [2]> ({x}) {name} = Sub ({other}, {name}_r)",
    "{name}_r = ReduceMean <keepdims = 1, axes = [1]> ({x}) {name} = Sub ({other}, {name}_r)",
    "{name} = Tanh ({x})",
    "{name} = Transpose <perm = [1, 0, 2]> ({x})",
    "{name}_r = Reshape ({x}, apart) {name}_t = Tanh ({name}_r) {name} = Reshape ({name}_t, cube)",
    "{name}_r = Reshape ({x}, swept) {name}_t = Tanh ({name}_r) {name} = Reshape ({name}_t, cube)",
    "{name} = MatMul ({x}, square)",
)
"""What may come on the way: some of them keep a place apart from the others, and some don't."""
INPUTS = "float[8, 8, 8] x, float[8, 8] square, float[8, 8] whole, float[1, 8, 1] mask"
CONSTANTS = """int64[4] apart = {8, 8, 2, 4}, int64[3] cube = {8, -1, 8}, int64[2] swept = {-1, 8},
    int64 first = {0}, int64 last = {-1}, int64[1] some = {3}"""


@example(steps=[TURN, NORM], reused=0, axis=2, place="first")
@example(steps=[TURN, PRODUCT], reused=0, axis=2, place="last")
@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=7),
    reused=st.integers(0, 7),
    axis=st.integers(0, 2),
    place=st.sampled_from(["first", "last", "some"]),
)
def test_whatever_lies_on_the_way_the_answer_stays(steps, reused, axis, place):
    """Sizes that are all the same number hide no axis that is taken for another."""
    lines, names = ["positive = Greater (mask, x) start = MatMul (x, w)"], ["start"]
    for number, step in enumerate(steps):
        lines.append(step.format(name=f"v{number}", x=names[-1], other=names[reused % len(names)]))
        names.append(f"v{number}")
    lines.append(f"y = Gather <axis = {axis}> ({names[-1]}, {place})")
    shape = "8, 8" if place != "some" else ", ".join("1" if axis == at else "8" for at in range(3))
    text = f"g ({INPUTS}, {HELD}) => (float[{shape}] y) <{CONSTANTS}> {{ {' '.join(lines)} }}"
    before = model(text, weights=WEIGHTS, opset=OPSET)

    after, _ = narrowed(before)

    found, expected = (answers(one, draw(before)) for one in (after, before))
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-3, atol=1e-4)
