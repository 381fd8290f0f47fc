"""A mask whose elements are all gathered in order is taken as it is."""

import pytest
from cases.graphs import draw, error, kinds, model, rewritten

NUMBERS = """int64 n0 = {0}, int64 n1 = {1}, int64 n2 = {2}, int64[1] i0 = {0}, int64[1] i1 = {1},
    int64[1] i2 = {2}, int64[1] i3 = {3}, int64[1] minus = {-1},
    int64[2] column = {-1, 1}, int64[2] behind = {1, 2}, int64[2] before = {0, 1}"""
COUNTS = """sizes = Shape (x) b = Gather (sizes, n0) s = Gather (sizes, n1) length = Unsqueeze (s, i0)
    row = Range (n0, b, n1) rows = Unsqueeze (row, behind) position = Range (n0, s, n1)
    positions = Unsqueeze (position, before)"""
PLACES = "scaled = Mul (rows, length) places = Add (positions, scaled)"
FLAT = "flat = Flatten <axis = 2> (x)"
TAKEN = "taken = Gather (flat, places) y = Not (taken)"


def graph(flat=FLAT, places=PLACES, taken=TAKEN, counts=COUNTS, outputs="bool[b, 1, s, 1] y"):
    head = f"mask (bool[b, s] x) => ({outputs}) <{NUMBERS}>"
    return model(f"{head} {{ {flat} {counts} {places} {taken} }}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["Unsqueeze", "Not"]),
        ({"places": "scaled = Mul (length, rows) places = Add (scaled, positions)"}, ["Unsqueeze", "Not"]),
        ({"flat": "flat = Reshape (x, minus)", "outputs": "bool[b, 1, s] y"}, ["Unsqueeze", "Not"]),
        ({"flat": "flat = Reshape (x, column)"}, ["Unsqueeze", "Not"]),
    ],
)
@pytest.mark.parametrize("sizes", [{"b": 2, "s": 5}, {"b": 1, "s": 1}])
def test_fires(change, expected, sizes):
    before = graph(**change)

    after, trace = rewritten(before, "gathered-whole")

    assert [kind for kind in kinds(after) if kind in {"Gather", *expected}][-2:] == expected
    assert trace.counts == {"gathered-whole": 1}
    assert error(before, after, draw(before, **sizes)) == 0


def test_a_reshape_that_drops_an_axis_again_goes():
    taken = "taken = Gather (flat, places) i = Shape (taken) three = Slice (i, i0, i3) r = Reshape (taken, three)"
    before = graph(taken=f"{taken} y = Not (r)", outputs="bool[b, 1, s] y")

    after, _ = rewritten(before, "gathered-whole", "unchanged", "sizes-once")

    assert "Reshape" not in kinds(after)
    assert error(before, after, draw(before, b=2, s=5)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"flat": "flat = Flatten <axis = 1> (x)", "outputs": "bool[b, 1, s, s] y"},
        {"places": "scaled = Mul (positions, length) places = Add (rows, scaled)"},
        {"places": "scaled = Mul (rows, i2) places = Add (positions, scaled)"},
        {"places": "off = Add (length, i0) scaled = Mul (rows, i1) places = Add (positions, scaled)"},
        {"counts": COUNTS.replace("Range (n0, s, n1)", "Range (n1, s, n1)"), "outputs": "bool[b, 1, t, 1] y"},
        {"counts": COUNTS.replace("Range (n0, s, n1)", "Range (n0, s, n2)"), "outputs": "bool[b, 1, t, 1] y"},
        {
            "taken": "taken = Gather <axis = 1> (flat, zero) y = Not (taken)",
            "places": "zero = Mul (positions, i0)",
            "outputs": "bool[t, 1, 1, s] y",
        },
    ],
)
def test_leaves_what_is_gathered_otherwise(change):
    assert not rewritten(graph(**change), "gathered-whole")[1].hits


def test_leaves_opsets_in_which_axes_are_attributes():
    head = f"mask (bool[b, s] x) => (bool[b, s, 1] y) <{NUMBERS}>"
    counts = """sizes = Shape (x) b = Gather (sizes, n0) s = Gather (sizes, n1) row = Range (n0, b, n1)
        position = Range (n0, s, n1) rows = Unsqueeze <axes = [1]> (row)"""
    places = "scaled = Mul (rows, s) places = Add (position, scaled)"

    made = model(f"{head} {{ {FLAT} {counts} {places} {TAKEN} }}", opset=12)

    assert not rewritten(made, "gathered-whole")[1].hits


def test_the_gathered_value_may_be_what_the_graph_answers():
    before = graph(taken="y = Gather (flat, places)")

    after, trace = rewritten(before, "gathered-whole")

    assert trace.counts == {"gathered-whole": 1}
    assert error(before, after, draw(before, b=2, s=5)) == 0
