"""Parts of a fused projection that are picked one by one become one split."""

import pytest
from cases.graphs import draw, error, kinds, model, rewritten

NUMBERS = """int64[5] apart = {0, 0, 3, 2, 4}, int64[1] i0 = {0}, int64[1] i1 = {1}, int64[1] i2 = {2},
    int64[1] i3 = {3}, int64[1] last = {-1}, int64[1] end = {9223372036854775807}, int64 n0 = {0}, int64 n1 = {1},
    int64 n2 = {2}, int64 m1 = {-1}"""
OUTPUTS = "float[b, s, 2, 4] q, float[b, s, 2, 4] k, float[b, s, 2, 4] v"
GATHERED = "q = Gather <axis = 2> (p, n0) k = Gather <axis = 2> (p, n1) v = Gather <axis = 2> (p, n2)"
SLICED = """a = Slice (p, i0, i1, i2) q = Squeeze (a, i2) c = Slice (p, i1, i2, i2) k = Squeeze (c, i2)
    d = Slice (p, i2, i3, i2) v = Squeeze (d, i2)"""

UNBOUND = """a, c, d = Split <axis = 2, num_outputs = 3> (p)
    q = Squeeze (a, i2) k = Squeeze (c, i2) v = Squeeze (d, i2)"""


def graph(body, *, x="float[b, s, 24] x", outputs=OUTPUTS, opset=18):
    return model(f"parts ({x}) => ({outputs}) <{NUMBERS}> {{ p = Reshape (x, apart) {body} }}", opset=opset)


@pytest.mark.parametrize(
    "body",
    [
        GATHERED,
        SLICED,
        GATHERED.replace("n2", "m1").replace("axis = 2", "axis = -3"),
        GATHERED.replace("n1", "n0"),
        UNBOUND,
        SLICED.replace("i2, i3, i2", "i2, end, i2"),
        SLICED.replace("i2, i3, i2", "last, end, i2"),
    ],
)
@pytest.mark.parametrize("sizes", [{"b": 2, "s": 5}, {"b": 1, "s": 1}])
def test_fires(body, sizes):
    before = graph(body)

    after, trace = rewritten(before, "indexed-parts")

    assert sorted(kinds(after)) == ["Reshape", "Reshape", "Reshape", "Split"]
    assert trace.counts == {"indexed-parts": 1}
    assert error(before, after, draw(before, **sizes)) == 0


ON_HEADS = GATHERED.replace("axis = 2", "axis = 3").replace("n2", "n1")
TWO = SLICED.replace("i2, i3, i2", "i1, i3, i2").replace("Squeeze (d, i2)", "Identity (d)")


@pytest.mark.parametrize(
    "change",
    [
        {"body": ON_HEADS, "outputs": OUTPUTS.replace("s, 2, 4", "s, 3, 4")},
        {"body": TWO, "outputs": OUTPUTS.replace("2, 4] v", "2, 2, 4] v")},
        {"body": f"{GATHERED} z = Relu (p)", "outputs": f"{OUTPUTS}, float[b, s, 3, 2, 4] z"},
        {"body": GATHERED, "outputs": f"{OUTPUTS}, float[b, s, 3, 2, 4] p"},
        {"body": f"{UNBOUND} z = Relu (a)", "outputs": f"{OUTPUTS}, float[b, s, 1, 2, 4] z"},
        {"body": GATHERED, "opset": 12},
    ],
)
def test_leaves_what_is_picked_otherwise_or_seen(change):
    assert not rewritten(graph(**change), "indexed-parts")[1].hits


def test_says_what_else_takes_the_whole():
    before = graph(f"{GATHERED} z = Relu (p)", outputs=f"{OUTPUTS}, float[b, s, 3, 2, 4] z")

    (miss,) = rewritten(before, "indexed-parts")[1].near_misses

    assert (miss.reason, miss.culprit) == ("Something else takes a value inside of the pattern.", "p")


def test_parts_in_another_order_would_be_seen():
    before = graph(GATHERED)
    after, _ = rewritten(before, "indexed-parts")
    node = next(node for node in after.graph if node.op_type == "Reshape")
    split = node.inputs[0].producer()
    node.replace_input_with(0, split.outputs[(list(split.outputs).index(node.inputs[0]) + 1) % 3])

    assert error(before, after, draw(before)) > 1e-3
