"""Graphs in float16 and bfloat16: what stays in float32 is what has to, and the rest answers alike."""

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest
from cases.functions import FunctionSession
from cases.graphs import answers, draw, kinds, model, strictly

from onnxwright.errors import SourceError, UsageError
from onnxwright.graph.comparing import structure
from onnxwright.graph.guarding import invalidity
from onnxwright.graph.precision.floats import lowered
from onnxwright.graph.precision.formats import format_of
from onnxwright.graph.precision.observing import observed, ranges
from onnxwright.graph.precision.weighing import lower
from onnxwright.tolerance import RUN_TO_RUN, distance

FLOAT, HALF, BRAIN = ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16
LIMIT = 0.0065
"""The noise of float32, 1e-7, by 2¹³ as float16 rounds, by 8."""


def seen(graph, *feeds):
    """The ranges of a graph on feeds, or on drawn ones."""
    watching = observed(graph)
    return ranges(FunctionSession(lambda one: answers(watching, one)), feeds or [draw(graph)])


def halved(graph, *feeds, **options):
    """The graph in float16, by the ranges on these feeds."""
    return lowered(graph, "float16", seen(graph, *feeds), **options)


def off(before, after, feeds, *, runs=(answers, strictly)):
    """The largest distance of any output, in the types of the one before, in ONNX Runtime and strictly."""
    expected = answers(before, feeds)
    found = [run(after, feeds) for run in runs]
    assert all(expected.keys() == given.keys() for given in found)
    return max(distance(array, given[name].astype(array.dtype)) for given in found for name, array in expected.items())


def casts(graph):
    """What each cast takes and gives, by name."""
    return [(node.inputs[0].name, node.outputs[0].name) for node in graph.graph if node.op_type == "Cast"]


def types(graph):
    """The type of every value that a node of the main graph gives, and of every weight."""
    values = [*graph.graph.initializers.values(), *(value for node in graph.graph for value in node.outputs)]
    return {value.name: value.dtype for value in values}


PLAIN = "plain (float[n, 4] x, float[4, 4] w) => (float[n, 4] y) { a = MatMul (x, w) b = Add (a, a) y = Relu (b) }"


def test_computes_in_the_lower_type_between_two_casts():
    before = model(PLAIN, weights=["w"])

    after = halved(before)

    assert kinds(after.model) == ["Cast", "MatMul", "Add", "Relu", "Cast"]
    assert not after.kept
    assert {types(after.model)[name] for name in ("a", "b", "w")} == {HALF}
    assert types(after.model)["y"] == FLOAT
    assert 0 < off(before, after.model, draw(before)) <= LIMIT


def test_a_wrong_weight_would_be_seen():
    before = model(PLAIN, weights=["w"])
    after = halved(before).model
    weight = after.graph.initializers["w"]
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float16(1.02), name="w")

    assert off(before, after, draw(before)) > LIMIT


def test_the_graph_that_is_given_stays_as_it_is():
    before = model(PLAIN, weights=["w"])
    text = ir.to_proto(before).SerializeToString()

    halved(before)
    halved(before, keeps_io=False)

    assert ir.to_proto(before).SerializeToString() == text


def test_weights_are_converted_when_they_are_asked_for():
    before = model(PLAIN, weights=["w"])

    after = halved(before).model

    assert isinstance(after.graph.initializers["w"].const_value, ir.LazyTensor)


OVERFLOWING = """
over (float[n, 4] x, float[4, 4] w, float[4, 4] v) => (float[n, 4] y) <float big = {30000}> {
    a = MatMul (x, w)
    b = Mul (a, big)
    c = Div (b, big)
    d = MatMul (c, v)
    y = Tanh (d)
}
"""


def test_what_overflows_keeps_exactly_its_guilty_nodes():
    before = model(OVERFLOWING, weights=["w", "v"])
    feeds = draw(before)

    after = halved(before, feeds)

    assert list(after.kept) == ["b", "c"]
    assert after.kept["b"].startswith("overflows: reaches ")
    assert after.kept["b"].endswith("on the samples, float16 ends at 65504")
    assert after.kept["c"].startswith("takes 'b', which overflows")
    assert off(before, after.model, feeds) <= LIMIT


def test_without_ranges_an_overflow_is_not_foreseen_and_would_be_seen():
    before = model(OVERFLOWING, weights=["w", "v"])

    after = lowered(before, "float16", None)

    assert not after.kept
    assert off(before, after.model, {"x": 10 * draw(before)["x"]}, runs=[strictly]) > LIMIT


@pytest.mark.parametrize(("largest", "is_kept"), [(16000.0, False), (17000.0, True)])
def test_overflow_is_foreseen_with_a_margin(largest, is_kept):
    before = model("g (float[n] x) => (float[n] y) { a = Relu (x) y = Tanh (a) }")

    after = halved(before, {"x": np.array([1, largest], np.float32)})

    assert bool(after.kept) is is_kept


def test_what_underflows_is_kept():
    before = model("""g (float[n] x) => (float[n] y) <float small = {0.0001}> {
        a = Mul (x, small) b = Mul (a, small) c = Div (b, small) y = Div (c, small) }""")
    feeds = {"x": np.array([0.3, -0.7, 0.01], np.float32)}

    after = halved(before, feeds)

    assert list(after.kept) == ["b", "c"]
    assert "underflows: reaches only 7e-09" in after.kept["b"]
    assert off(before, after.model, feeds) <= LIMIT


EPSILON = """
norm (float[n, 8] x, float[8, 8] w) => (float[n, 8] y) <float eps = {1e-12}> {
    h = MatMul (x, w)
    axes = Constant <value = int64[1] {-1}> ()
    mean = ReduceMean <keepdims = 1> (h, axes)
    centred = Sub (h, mean)
    square = Mul (centred, centred)
    variance = ReduceMean <keepdims = 1> (square, axes)
    safe = Add (variance, eps)
    root = Sqrt (safe)
    y = Div (centred, root)
}
"""


def test_an_epsilon_is_kept_with_what_is_computed_of_it_up_to_the_division():
    before = model(EPSILON, weights=["w"])

    after = halved(before)

    assert list(after.kept) == ["safe", "root", "y"]
    assert after.kept["safe"] == "its constant 1e-12 becomes 0 in float16"
    assert after.kept["root"] == "takes 'safe', which only a small constant keeps away from 0"
    assert off(before, after.model, draw(before)) <= LIMIT


def test_an_epsilon_matters_where_the_variance_is_nothing():
    before = model(EPSILON, weights=["w"])
    zeros = {"x": np.zeros((2, 8), np.float32)}

    assert off(before, halved(before).model, zeros) <= LIMIT
    assert np.isnan(strictly(careless(before), {"x": np.zeros((2, 8), np.float16)})["y"]).all()


def careless(before):
    """Everything in float16, whatever comes of it."""
    made = before.clone()
    for value in made.graph.initializers.values():
        if value.dtype == FLOAT:
            value.const_value, value.type = lower(value.const_value, format_of("float16")), ir.TensorType(HALF)
    made.graph.outputs[0].type = ir.TensorType(HALF)
    return made


MASKED = """
attention (float[b, s, 8] x, int64[b, s] mask, float[8, 8] q, float[8, 8] k)
    => (float[b, s, 8] y) <float one = {1}, float least = {-3.4028235e38}> {
    given = Cast <to = 1> (mask)
    off = Sub (one, given)
    bias = Mul (off, least)
    axes = Constant <value = int64[1] {1}> ()
    wide = Unsqueeze (bias, axes)
    query = MatMul (x, q)
    key = MatMul (x, k)
    turned = Transpose <perm = [0, 2, 1]> (key)
    scores = MatMul (query, turned)
    biased = Add (scores, wide)
    shares = Softmax <axis = -1> (biased)
    y = MatMul (shares, x)
}
"""


@pytest.mark.parametrize("is_padded", [True, False], ids=["padded samples", "no padding in samples"])
def test_a_mask_stays_until_softmax_has_made_shares_of_it(is_padded):
    before = model(MASKED, weights=["q", "k"])
    feeds = {**draw(before), "mask": np.ones((3, 3), np.int64)}
    feeds["mask"][0, 1:] = 0 if is_padded else 1
    whole = {**feeds, "mask": np.zeros((3, 3), np.int64)}

    after = halved(before, feeds)

    assert list(after.kept) == ["bias", "wide", "biased", "shares"]
    assert after.kept["bias"] == "its constant -3.40282e+38 is beyond float16, which ends at 65504"
    for one in (feeds, whole):
        assert off(before, after.model, one) <= LIMIT


def test_a_factor_that_is_beyond_the_type_but_no_mask_keeps_what_it_has_to():
    before = model("""g (float[n] x) => (float[n] y) <float big = {1e6}, float small = {0.000001}> {
        a = Tanh (x) b = Mul (a, small) c = Mul (b, big) d = Sin (c) y = Cos (d) }""")

    after = halved(before, {"x": np.array([0.3, -0.7], np.float32)})

    assert list(after.kept) == ["b", "c"]


@pytest.mark.parametrize(("least", "is_kept"), [("-10000", False), ("-65504", True)])
def test_a_mask_that_just_fits_leaves_no_room_for_what_is_added(least, is_kept):
    before = model(f"""g (float[n, 4] x, bool[n, 4] m) => (float[n, 4] y) <float low = {{{least}}}> {{
        a = Neg (x) b = Where (m, a, low) c = Add (b, a) y = Softmax (c) }}""")
    feeds = {"x": 40 * np.abs(draw(before)["x"]), "m": np.ones((3, 4), bool)}

    after = halved(before, feeds)

    assert list(after.kept) == (["b", "c", "y"] if is_kept else [])
    if is_kept:
        assert after.kept["b"] == "its constant -65504 leaves no room, float16 ends at 65504"
        assert np.isfinite(strictly(after.model, {**feeds, "m": np.zeros((3, 4), bool)})["y"]).all()


def test_where_a_mask_is_minus_infinity_nothing_is_kept():
    before = model(
        """g (float[n, 4] x, bool[n, 4] m) => (float[n, 4] y) {
        low = Constant <value = float {-inf}> () a = Where (m, x, low) y = Softmax (a) }""".replace("{-inf}", "{-1}")
    )
    before.graph[0].attributes["value"] = ir.AttrTensor("value", ir.tensor(np.float32(-np.inf)))
    feeds = draw(before)
    feeds["m"][:, 0] = True

    after = halved(before, feeds)

    assert not after.kept
    assert off(before, after.model, feeds) <= LIMIT


BRANCHING = """
branching (float[n] x, bool b) => (float[n] y) {
    h = Exp (x)
    z = If (b) <
        then_branch = then () => (float[n] p) { p = Neg (h) },
        else_branch = otherwise () => (float[n] q) <float[1] two = {2}> { q = Mul (h, two) }
    >
    y = Tanh (z)
}
"""


@pytest.mark.parametrize("side", [True, False])
def test_a_branch_stays_whole_and_is_handed_float32(side):
    before = model(BRANCHING)
    feeds = {"x": np.array([0.1, -0.5], np.float32), "b": np.array(side)}

    after = halved(before, feeds)

    assert after.kept == {"z": "holds a subgraph"}
    assert kinds(after.model) == ["Cast", "Exp", "Cast", "If", "Cast", "Tanh", "Cast"]
    assert off(before, after.model, feeds) <= LIMIT


def test_inputs_and_outputs_become_lower_where_asked():
    before = model(
        "g (float[n, 4] x, int64[n] i, float[4, 4] w) => (float[n, 4] y, int64[n] j) "
        "{ y = MatMul (x, w) j = Identity (i) }",
        weights=["w"],
    )

    after = halved(before, keeps_io=False).model

    assert kinds(after) == ["MatMul", "Identity"]
    assert [value.dtype for value in after.graph.inputs] == [HALF, ir.DataType.INT64]
    assert [value.name for value in after.graph.outputs] == ["y", "j"]
    assert [value.dtype for value in after.graph.outputs] == [HALF, ir.DataType.INT64]
    feeds = draw(before)
    small = {"x": feeds["x"].astype(np.float16), "i": feeds["i"]}
    assert distance(answers(before, feeds)["y"], answers(after, small)["y"].astype(np.float32)) <= LIMIT


def test_an_island_at_the_boundary_is_cast_for_inputs_and_outputs_that_are_lower():
    before = model(OVERFLOWING, weights=["w", "v"])

    after = halved(before, kept={"a": "asked for", "y": "asked for"}, keeps_io=False)

    assert after.kept["a"] == "asked for"
    assert [value.dtype for value in (*after.model.graph.inputs, *after.model.graph.outputs)] == [HALF, HALF]


def test_named_nodes_stay_for_the_reasons_given():
    before = model(PLAIN, weights=["w"])

    after = halved(before, kept={"b": "asked for"})

    assert after.kept == {"b": "asked for"}
    assert casts(after.model) == [("x", "x_float16"), ("a", "a_float32"), ("b", "b_float16"), ("y_float16", "y")]
    assert off(before, after.model, draw(before)) <= LIMIT


def test_a_weight_that_is_used_in_both_types_is_there_in_both():
    before = model(
        "g (float[4, 4] x, float[4, 4] w) => (float[4, 4] y) { a = MatMul (x, w) y = Add (a, w) }", weights=["w"]
    )

    after = halved(before, kept={"y": "asked for"}).model

    assert {name: value.dtype for name, value in after.graph.initializers.items()} == {"w": FLOAT, "w_float16": HALF}
    assert off(before, after, draw(before)) <= LIMIT


def test_a_weight_beyond_the_type_keeps_its_node():
    before = model("g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {70000, 1}> { a = Sqrt (x) y = Div (a, w) }")

    after = halved(before, {"x": np.ones((1, 2), np.float32)})

    assert after.kept == {"y": "its constant 'w', up to 70000, is beyond float16, which ends at 65504"}


def test_casts_that_are_there_are_used_again():
    before = model("""g (int64[n] i, float[n] x) => (float[n] y, int64[n] j, double[n] d) {
        a = Cast <to = 1> (i) b = Mul (a, x) c = Cast <to = 10> (b) e = Sqrt (c) f = Cast <to = 1> (e) y = Mul (f, b)
        j = Cast <to = 7> (b) d = Cast <to = 11> (f) }""")
    feeds = {"i": np.array([1, 2, 3]), "x": np.array([2.0, 1.0, 4.0], np.float32)}

    after = halved(before, feeds).model

    expected = {("i", "a"), ("x", "x_float16"), ("b", "j"), ("e", "f"), ("f", "d"), ("y_float16", "y")}
    assert set(casts(after)) == expected
    assert len(casts(after)) == len(expected)
    assert next(node for node in after.graph if node.outputs[0].name == "a").attributes.get_int("to") == HALF
    assert off(before, after, feeds) <= LIMIT


def test_whole_numbers_that_the_type_cannot_count_stay():
    before = model("""g (int64[n] i) => (int64[n] j) <float third = {0.3333333}> {
        a = Cast <to = 1> (i) b = Mul (a, third) c = Floor (b) j = Cast <to = 7> (c) }""")
    feeds = {"i": np.arange(4000)}

    after = halved(before, feeds)

    assert list(after.kept) == ["a", "b", "c"]
    assert "counts to 3999 on the samples, float16 only to 2048" in after.kept["a"]
    assert np.array_equal(answers(before, feeds)["j"], answers(after.model, feeds)["j"])


ROTARY = """
rotary (int64[1, s] ids, float[1, s, 8] x) => (float[1, s, 8] y) <float[1, 1, 4] inverse = {1, 0.1, 0.01, 0.001}> {
    axes = Constant <value = int64[1] {2}> ()
    place = Cast <to = 1> (ids)
    column = Unsqueeze (place, axes)
    angle = MatMul (column, inverse)
    twice = Concat <axis = -1> (angle, angle)
    turn = Cos (twice)
    y = Mul (x, turn)
}
"""


@pytest.mark.parametrize("ranged", [True, False], ids=["with ranges", "without"])
def test_angles_of_places_stay(ranged):
    before = model(ROTARY.replace("[1, 1, 4] inverse", "[1, 4] inverse"))
    feeds = {"ids": np.arange(500)[None], "x": np.ones((1, 500, 8), np.float32)}

    after = halved(before, feeds) if ranged else lowered(before, "float16", None)

    assert list(after.kept) == ["place", "column", "angle", "twice", "turn"]
    assert "is an angle" in after.kept["turn"]
    assert off(before, after.model, feeds) <= LIMIT


@pytest.mark.parametrize(
    ("body", "opset", "reason"),
    [
        ("r = Range (zero, top, one) y = Add (x, r)", 18, "the operator takes no float16"),
        ("y = CumSum (x, axis)", 13, "the operator takes no float16"),
        ('y = Einsum <equation = "i->i"> (x)', 18, ""),
        ("a = com.microsoft.Gelu (x) y = Neg (a)", 18, "the operator com.microsoft::Gelu is none of ONNX"),
    ],
)
def test_what_an_operator_takes_is_asked_of_its_schema(body, opset, reason):
    numbers = "<float zero = {0}, float one = {1}, float top = {3}, int64 axis = {0}>"
    text = f"g (float[3] x) => (float[3] y) {numbers} {{ {body} }}"
    before = model(text, opset=opset)

    after = halved(before)

    assert list(after.kept.values()) == ([reason] if reason else [])
    assert off(before, after.model, draw(before), runs=[answers]) <= LIMIT


def test_an_operator_of_which_the_type_is_not_known_makes_islands_of_its_neighbours():
    text = "g (float[3] x) => (float[3] y) { a = Neg (x) b = my.own.Thing (a) c = Neg (b) y = Cast <to = 1> (c) }"
    head = '<ir_version: 8, opset_import: ["" : 18, "my.own" : 1]>'
    before = ir.from_proto(onnx.parser.parse_model(f"{head} {text}"))

    after = lowered(before, "float16", None)

    assert list(after.kept) == ["b", "c", "y"]
    assert after.kept["c"] == "the type of 'b' isn't known"
    assert types(after.model)["a"] == HALF


def test_sizes_and_scales_of_resizing_stay_as_the_schema_has_them():
    before = model("""g (float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y) <float[4] scales = {1, 1, 2, 2}> {
        a = Neg (x) y = Resize <mode = "linear"> (a, , scales) }""")

    after = halved(before)

    assert not after.kept
    assert after.model.graph.initializers["scales"].dtype == FLOAT
    assert off(before, after.model, draw(before)) <= LIMIT


def test_quantized_parts_stay_where_scales_are_float32():
    before = model("""g (float[n, 4] x) => (float[n, 4] y) <float scale = {0.02}, int8 zero = {0}> {
        a = Relu (x) q = QuantizeLinear (a, scale, zero) d = DequantizeLinear (q, scale, zero) y = Sqrt (d) }""")

    after = halved(before)

    assert list(after.kept) == ["q", "d"]
    assert off(before, after.model, draw(before), runs=[answers]) <= LIMIT


def test_sequences_stay():
    before = model("""g (float[n] x) => (float[n] y) <int64 first = {0}> {
        a = Neg (x) s = SequenceConstruct (a, x) b = SequenceAt (s, first) y = Exp (b) }""")

    after = halved(before)

    assert list(after.kept) == ["s", "b"]
    assert after.kept["b"] == "handles sequences"
    assert off(before, after.model, draw(before)) <= LIMIT


@pytest.mark.parametrize("keeps_io", [True, False])
def test_an_output_that_is_lower_already_keeps_its_name_beside_one_that_is_not(keeps_io):
    before = model("g (float[n] x) => (float[n] y, float16[n] z) { y = Exp (x) z = Cast <to = 10> (y) }")

    after = halved(before, kept={"y": "asked for"}, keeps_io=keeps_io).model

    assert [(value.name, value.dtype) for value in after.graph.outputs] == [
        ("y", FLOAT if keeps_io else HALF),
        ("z", HALF),
    ]
    assert not invalidity(after)


def test_double_parts_are_left_alone():
    before = model("""g (double[n] d, float[n] x) => (double[n] e, float[n] y) {
        e = Sqrt (d) f = Cast <to = 1> (e) y = Mul (f, x) }""")
    feeds = {"d": np.array([2.0, 3.0]), "x": np.array([1.5, -0.25], np.float32)}

    after = halved(before, feeds).model

    assert types(after)["e"] == ir.DataType.DOUBLE
    assert np.array_equal(answers(before, feeds)["e"], answers(after, feeds)["e"])


@pytest.mark.parametrize("opset", [13, 15, 17, 18, 19, 20, 21, 23])
def test_every_opset_gives_what_it_takes(opset):
    axes = "axes = Constant <value = int64[1] {-1}> () " if opset >= 18 else ""
    mean = (
        "m = ReduceMean <keepdims = 1> (a, axes)" if opset >= 18 else "m = ReduceMean <axes = [-1], keepdims = 1> (a)"
    )
    before = model(
        f"g (float[n, 4] x, float[4, 4] w) => (float[n, 4] y) {{ {axes} a = MatMul (x, w) {mean} b = Sub (a, m) "
        "c = Pow (b, b) d = Abs (b) e = Sigmoid (d) y = Softmax (e) }".replace("c = Pow (b, b) ", ""),
        opset=opset,
        weights=["w"],
    )

    after = halved(before)

    assert not after.kept
    assert off(before, after.model, draw(before)) <= LIMIT


@pytest.mark.parametrize("text", [PLAIN, OVERFLOWING, EPSILON, MASKED, BRANCHING, ROTARY])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("keeps_io", [True, False])
def test_a_second_time_there_is_nothing_to_do(text, dtype, keeps_io):
    before = model(text.replace("[1, 1, 4] inverse", "[1, 4] inverse"), weights=[*"wvqk"])
    known = seen(before)
    once = lowered(before, dtype, known, keeps_io=keeps_io)

    twice = lowered(once.model, dtype, known, keeps_io=keeps_io)

    assert structure(once.model) == structure(twice.model)
    assert once.kept.keys() == twice.kept.keys()


def test_bfloat16_reaches_as_far_as_float32():
    before = model(OVERFLOWING, weights=["w", "v"])

    after = lowered(before, "bfloat16", seen(before))

    assert not after.kept
    assert types(after.model)["b"] == BRAIN
    feeds = draw(before)
    assert 0 < off(before, after.model, feeds, runs=[strictly]) <= 8 * LIMIT


def test_the_least_number_of_float32_stays_finite_in_bfloat16():
    before = model(MASKED, weights=["q", "k"])

    after = lowered(before, "bfloat16", seen(before))

    assert not after.kept
    weight = after.model.graph.initializers["least"].const_value.numpy()
    assert np.isfinite(weight.astype(np.float32))
    assert not invalidity(after.model)


def test_an_operator_that_takes_no_bfloat16_is_an_island():
    before = model("g (float[n] x, bool[n] b) => (float[n] y) { a = Neg (x) y = Where (b, x, a) }", opset=13)

    after = lowered(before, "bfloat16", None)

    assert after.kept == {"y": "the operator takes no bfloat16"}


def test_what_squares_inside_stays_where_the_squares_do_not_fit():
    before = model("""g (float[n, 4] x) => (float[n, 1] y) {
        axes = Constant <value = int64[1] {-1}> () a = Relu (x) y = ReduceL2 <keepdims = 1> (a, axes) }""")
    feeds = {"x": np.full((2, 4), 300.0, np.float32)}

    after = halved(before, feeds)

    assert list(after.kept) == ["y"]
    assert after.kept["y"].startswith("overflows: adds up to 360000 inside on the samples")
    assert off(before, after.model, feeds) <= LIMIT


def test_a_mean_of_many_stays_where_their_sum_does_not_fit():
    before = model("""g (float[n, 1000] x) => (float[n, 1] y) {
        axes = Constant <value = int64[1] {-1}> () a = Relu (x) y = ReduceMean <keepdims = 1> (a, axes) }""")

    after = halved(before, {"x": np.full((2, 1000), 50.0, np.float32)})

    assert list(after.kept) == ["y"]


def test_places_in_the_users_code_go_to_the_casts():
    before = model(PLAIN, weights=["w"])
    for node in before.graph:
        node.metadata_props["onnxwright.module"] = "layers.0"

    after = halved(before).model

    assert {node.metadata_props.get("onnxwright.module") for node in after.graph} == {"layers.0"}


def test_refuses_what_is_no_lower_type():
    with pytest.raises(UsageError, match="type 'float8' is no lower floating-point type; expected one of bfloat16, f"):
        lowered(model(PLAIN, weights=["w"]), "float8", None)


def test_refuses_a_graph_that_uses_what_nothing_gives():
    before = model("g (float[n] x) => (float[n] y) { y = Add (x, x) }")
    before.graph[0].replace_input_with(1, ir.Value(name="lost"))

    with pytest.raises(SourceError, match="'lost'"):
        lowered(before, "float16", None)


def test_nothing_changes_in_a_graph_of_whole_numbers():
    before = model("g (int64[n] x) => (int64[n] y) { y = Neg (x) }")

    after = lowered(before, "float16", None)

    assert structure(after.model) == structure(before)
    assert RUN_TO_RUN < LIMIT
