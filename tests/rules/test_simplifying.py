"""Rules and passes that make a graph smaller and mean the same."""

import numpy as np
import onnx_ir as ir
import pytest
from cases.graphs import LIMIT, answers, draw, error, kinds, model, rewritten

from onnxwright.errors import UsageError
from onnxwright.graph.passes import guarded
from onnxwright.graph.simplifying import SIMPLIFYING, keep_outputs
from onnxwright.graph.sizes import sizes_of


def simplified(graph):
    return guarded(graph, SIMPLIFYING, rounds=3)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Transpose <perm = [1, 0]> (x) y = Transpose <perm = [1, 0]> (a)", ["Identity"]),
        ("a = Transpose <perm = [0, 1]> (x) y = Relu (a)", ["Identity", "Relu"]),
        ("a = Cast <to = 1> (x) y = Relu (a)", ["Identity", "Relu"]),
        ("a = Unsqueeze (x, first) y = Unsqueeze (a, first)", ["Constant", "Unsqueeze"]),
        ("a = Transpose <perm = [1, 0]> (x) y = Relu (a)", ["Transpose", "Relu"]),
    ],
)
def test_chains(body, left):
    numbers = "int64[1] first = {0}"
    square = "float[n, 4] y" if "Unsqueeze" not in body else "float[1, 1, n, 4] y"
    square = "float[4, n] y" if "Relu" in body and "[1, 0]" in body else square
    before = model(f"chain (float[n, 4] x) => ({square}) <{numbers}> {{ {body} }}")

    after, _ = rewritten(before, "chains")

    assert kinds(after) == left
    assert error(before, after, draw(before, n=4)) == 0


SHAPE = """s = Shape (x) b = Gather <axis = 0> (s, zero) c = Unsqueeze (b, first)
    l = Gather <axis = 0> (s, one) m = Unsqueeze (l, first)"""
NUMBERS = "int64 zero = {0}, int64 one = {1}, int64[1] first = {0}, int64[1] two = {2}, int64[1] four = {4}"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("c, m, two, four", [0, 0, 2, 4]), ("c, rest, two, four", [0, 0, 2, 4]), ("c, m, four, two", [0, 0, 4, 2])],
)
def test_a_computed_shape_becomes_a_constant(shape, expected):
    body = f"{SHAPE} t = Concat <axis = 0> ({shape}) y = Reshape (x, t)"
    outputs = f"float[b, l, {expected[2]}, {expected[3]}] y"
    before = model(f"view (float[b, l, 8] x) => ({outputs}) <{NUMBERS}, int64[1] rest = {{-1}}> {{ {body} }}")

    after, _ = rewritten(before, "reshapes")

    (node,) = [node for node in after.graph if node.op_type == "Reshape"]
    assert node.inputs[1].const_value.numpy().tolist() == expected
    assert error(before, after, draw(before)) == 0


@pytest.mark.parametrize(
    ("count", "is_known"),
    [
        ("many = Mul (b, four) back = Div (many, four)", True),
        ("more = Mul (b, six) back = Div (more, four)", False),
        ("none = Sub (l, l) back = Add (b, none)", True),
        ("less = Sub (b, zero) back = Identity (less)", True),
        ("less = Sub (b, six) back = Add (less, six)", False),
        ("back = Div (b, four)", False),
    ],
)
def test_sizes_that_are_divided_evenly_and_subtracted_are_followed(count, is_known):
    body = f"""s = Shape (x) b = Gather (s, zero) l = Gather (s, one) {count} c = Unsqueeze (back, first)
        shape = Concat <axis = 0> (c, rest) e = Expand (z, shape) y = Relu (e)"""
    numbers = "int64 zero = {0}, int64 one = {1}, int64 four = {4}, int64 six = {6}, int64[1] first = {0}"
    before = model(
        f"g (float[b, l] x, float[1, 3] z) => (float[n, 3] y) <{numbers}, int64[1] rest = {{3}}> {{ {body} }}"
    )

    after, _ = rewritten(before, "sizes-once")

    (expand,) = [node for node in after.graph if node.op_type == "Expand"]
    assert (sizes_of(expand.outputs[0]) == ("b", 3)) == is_known
    for rows in (4, 8):
        assert error(before, after, draw(before, b=rows, l=2)) == 0


OF_A_NUMBER = """g (float[n, 4] x) => (float[1] y) <int64[1] one = {1}> {
    s = ReduceSum <keepdims = 0> (x) h = Shape (s) u = Add (h, h) v = Concat <axis = 0> (u, one) y = Reshape (s, v) }"""
BY_ATTRIBUTES = """g (float[n, 4, 3] x) => (float[n, 12] y) <int64[1] rest = {-1}> {
    s = Shape (x) b = Slice <starts = [0], ends = [1], axes = [0]> (s)
    v = Concat <axis = 0> (b, rest) y = Reshape (x, v) }"""


@pytest.mark.parametrize(("text", "opset"), [(OF_A_NUMBER, 18), (BY_ATTRIBUTES, 9)])
def test_shapes_of_a_number_and_slices_of_old_opsets_are_followed(text, opset):
    before = model(text, opset=opset)

    after, trace = simplified(before)

    assert not trace.setbacks
    assert kinds(after)[-1] == "Reshape"
    assert error(before, after, draw(before, n=5)) == 0


def test_a_cast_to_few_bits_is_not_followed():
    text = """g (float[n, 300] x, int64[n] i) => (int64[n] y) <int64 one = {1}> {
        s = Shape (x) a = Gather (s, one) b = Cast <to = 3> (a) c = Cast <to = 7> (b) y = Add (i, c) }"""
    before = model(text)

    after, _ = rewritten(before, "sizes-once")

    assert error(before, after, draw(before, n=5)) == 0


def test_a_shape_of_two_unknown_sizes_stays():
    before = model("view (float[b, l, 8] x, int64[3] t) => (float[u, v, w] y) { y = Reshape (x, t) }")

    assert not rewritten(before, "reshapes")[1].hits


def test_two_reshapes_become_one_that_others_may_still_take():
    body = "a = Reshape (x, flat) r = Relu (a) y = Reshape (a, back)"
    numbers = "int64[2] flat = {0, 8}, int64[3] back = {0, 4, 2}"
    before = model(f"twice (float[b, 2, 4] x) => (float[b, 4, 2] y, float[b, 8] r) <{numbers}> {{ {body} }}")

    after, _ = rewritten(before, "reshapes")

    assert {node.inputs[0].name for node in after.graph if node.op_type == "Reshape"} == {"x"}
    assert error(before, after, draw(before)) == 0


def test_a_reshape_to_the_same_goes():
    before = model("same (float[b, 4] x) => (float[b, 4] y) <int64[2] s = {-1, 4}> { a = Reshape (x, s) y = Relu (a) }")

    after, _ = rewritten(before, "reshapes")

    assert kinds(simplified(after)[0]) == ["Relu"]


@pytest.mark.parametrize(("sizes", "is_gone"), [("b, 4", True), ("b, one", False)])
def test_an_expand_to_the_same_goes(sizes, is_gone):
    x = f"float[{sizes.replace('one', '1')}] x"
    body = "s = Shape (z) a = Expand (x, s) y = Relu (a)"
    before = model(f"wide ({x}, float[b, 4] z) => (float[b, 4] y) {{ {body} }}")

    after, _ = rewritten(before, "unchanged")

    assert ("Expand" not in kinds(after)) is is_gone
    assert error(before, after, draw(before)) == 0


@pytest.mark.parametrize(
    ("body", "is_gone"),
    [
        ("a = Slice (x, zeros, ends, zeros) y = Relu (a)", True),
        ("a = Slice (x, zeros, ends, axis) y = Relu (a)", True),
        ("a = Slice (x, ends, starts, axis, back) y = Relu (a)", False),
        ("a = Unsqueeze (x, axis) b = Squeeze (a, axis) y = Relu (b)", True),
        ("a = Dropout (x) y = Relu (a)", True),
        ("a = Dropout (x, half, no) y = Relu (a)", True),
    ],
)
def test_what_changes_nothing_goes(body, is_gone):
    numbers = """int64[1] zeros = {0}, int64[1] ends = {9223372036854775807}, int64[1] axis = {1}, int64[1] back = {-1},
        int64[1] starts = {-9223372036854775807}, float half = {0.5}, bool no = {0}"""
    before = model(f"same (float[b, 4] x) => (float[b, 4] y) <{numbers}> {{ {body} }}")

    after, _ = rewritten(before, "unchanged")

    assert (kinds(after) == ["Identity", "Relu"]) is is_gone
    assert error(before, after, draw(before)) == 0


@pytest.mark.parametrize(
    ("body", "is_gone"),
    [
        ("y = And (x, yes)", True),
        ("y = And (yes, x)", True),
        ("all = ConstantOfShape <value = bool[1] {1}> (none) y = And (x, all)", True),
        ("some = ConstantOfShape <value = bool[1] {1}> (four) y = And (x, some)", True),
        ("y = And (x, mixed)", False),
        ("s = Shape (x) wide = ConstantOfShape <value = bool[1] {0}> (s) y = And (x, wide)", False),
        ("all = ConstantOfShape <value = bool[1] {1}> (wider) y = And (x, all)", False),
    ],
)
def test_what_is_true_throughout_goes(body, is_gone):
    numbers = """bool[1] yes = {1}, int64[0] none = {}, int64[1] four = {4}, int64[3] wider = {2, 1, 4},
        bool[4] mixed = {1, 1, 0, 1}"""
    outputs = "bool[2, b, 4] y" if "wider" in body else "bool[b, 4] y"
    before = model(f"both (bool[b, 4] x) => ({outputs}) <{numbers}> {{ {body} }}")

    after, _ = rewritten(before, "unchanged")

    assert ("And" not in kinds(after)) is is_gone
    assert error(before, after, draw(before)) == 0


@pytest.mark.parametrize(
    ("body", "is_gone"),
    [
        ("y = Add (x, nothing)", True),
        ("y = Add (nothing, x)", True),
        ("y = Mul (x, one)", True),
        ("y = Sub (x, nothing)", True),
        ("y = Div (x, one)", True),
        ("y = Sub (nothing, x)", False),
        ("y = Div (one, x)", False),
        ("y = Add (x, one)", False),
        ("y = Mul (x, nothing)", False),
        ("y = Add (x, nearly)", False),
        ("y = Add (x, given)", False),
        ("y = Add (x, wider)", False),
    ],
)
def test_a_sum_with_zeros_and_a_product_with_ones_go(body, is_gone):
    numbers = """float[4] nothing = {0, 0, 0, 0}, float one = {1}, float[4] nearly = {0, 0, 0, 1},
        float[2, 1, 4] wider = {0, 0, 0, 0, 0, 0, 0, 0}"""
    given = ", float[4] given" if "given" in body else ""
    outputs = "float[2, b, 4] y" if "wider" in body else "float[b, 4] y"
    before = model(f"same (float[b, 4] x{given}) => ({outputs}) <{numbers}> {{ {body} }}")

    after, _ = rewritten(before, "unchanged")

    assert (kinds(after) == ["Identity"]) is is_gone
    assert error(before, after, draw(before)) == 0


def test_a_number_changes_no_sizes_even_of_what_has_none_that_are_known():
    body = "found = NonZero (x) z = Cast <to = 1> (found) y = Mul (z, one)"
    before = model(f"same (float[a, b] x) => (float[c, d] y) <float one = {{1}}> {{ {body} }}")

    after, _ = rewritten(before, "unchanged")

    assert "Mul" not in kinds(after)


@pytest.mark.parametrize(("perm", "is_gone"), [("[0, 2, 1]", True), ("[1, 0, 2]", False)])
def test_a_transpose_that_undoes_one_which_something_else_takes_goes(perm, is_gone):
    body = f"t = Transpose <perm = [0, 2, 1]> (x) u = Relu (t) v = Transpose <perm = {perm}> (t) y = Abs (v)"
    before = model(f"twice (float[a, 3, 4] x) => (float[a, 4, 3] u, float[c, d, e] y) {{ {body} }}")

    after, _ = rewritten(before, "chains")

    assert kinds(after).count("Transpose") == (1 if is_gone else 2)
    assert error(before, after, draw(before)) == 0


def test_a_cast_of_which_a_function_is_told_the_type_stays():
    text = """<ir_version: 9, opset_import: ["" : 18, "own" : 1]>
        cut (int64[n] x) => (int64[n] y) { y = own.Narrow <to = 3> (x) }
        <domain: "own", opset_import: ["" : 18]>
        Narrow <to> (a) => (b) { c = Cast <to: int = @to> (a) b = Cast <to = 7> (c) }
        """
    before = ir.from_onnx_text(text)

    after, _ = rewritten(before, "chains")

    assert [node.op_type for function in after.functions.values() for node in function] == ["Cast", "Cast"]


def test_dropout_of_a_module_in_training_stays():
    text = "drop (float[b, 4] x) => (float[b, 4] y) <float half = {0.5}, bool yes = {1}> { y = Dropout (x, half, yes) }"

    assert kinds(rewritten(model(text), "unchanged")[0]) == ["Dropout"]


def test_sizes_are_computed_once_and_from_the_first_that_has_them():
    body = """r = Relu (x) s = Shape (x) b = Gather (s, zero) t = Shape (r) c = Gather (t, zero)
        u = Unsqueeze (b, first) v = Unsqueeze (c, first) w = Concat <axis = 0> (u, v) y = ConstantOfShape (w)"""
    before = model(f"sizes (float[b, 4] x) => (float[b, b] y) <{NUMBERS}> {{ {body} }}")

    after, _ = rewritten(before, "sizes-once")

    assert kinds(after).count("Shape") == 1
    assert error(before, after, draw(before)) == 0


def test_sizes_of_other_names_are_not_the_same():
    body = "s = Shape (x) b = Gather (s, zero) t = Shape (z) c = Gather (t, zero) y = Add (b, c)"
    before = model(f"sizes (float[b, 4] x, float[c, 4] z) => (int64 y) <{NUMBERS}> {{ {body} }}")

    after, _ = rewritten(before, "sizes-once")

    assert kinds(after).count("Shape") == 2
    assert error(before, after, draw(before, b=2, c=5)) == 0


def test_twins_go_and_so_does_what_nobody_needs():
    body = "a = Add (x, w) b = Add (x, v) c = Relu (a) d = Relu (b) u = Exp (x) y = Add (c, d)"
    before = model("twins (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1, 2}, float[2] v = {1, 2}> {" + body + "}")

    after, trace = simplified(before)

    assert kinds(after) == ["Add", "Relu", "Add"]
    assert {name: trace.steps[name] for name in ("weights", "twice")} == {"weights": 1, "twice": 2}
    assert error(before, after, draw(before)) == 0


def test_what_depends_on_no_input_is_computed():
    before = model("fold (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { a = Exp (w) b = Neg (a) y = Add (x, b) }")

    after, _ = simplified(before)

    assert kinds(after) == ["Add"]
    assert error(before, after, draw(before)) <= LIMIT


def test_large_constants_are_not_made():
    before = model("large (float[1000, 1000] x) => (float[1000, 1000] y) { y = Add (x, w) }")
    weight = ir.Value(name="v", const_value=ir.tensor(np.ones((1, 1000), np.float32), name="v"))
    before.graph.register_initializer(weight)
    shape = ir.Value(name="s", const_value=ir.tensor(np.array([1000, 1000]), name="s"))
    before.graph.register_initializer(shape)
    wide = ir.node("Expand", [weight, shape], name="wide")
    before.graph.insert_before(next(iter(before.graph)), wide)
    next(iter(before.graph)).outputs[0].name = "wide_output"
    next(node for node in before.graph if node.op_type == "Add").replace_input_with(1, wide.outputs[0])

    assert "Expand" in kinds(simplified(before)[0])


def test_weights_of_a_quantized_graph_stay_quantized():
    body = "q = DequantizeLinear (w, s, z) y = MatMul (x, q)"
    numbers = "int8[2, 2] w = {1, 2, 3, 4}, float s = {0.5}, int8 z = {0}"
    before = model(f"quantized (float[n, 2] x) => (float[n, 2] y) <{numbers}> {{ {body} }}")

    assert kinds(simplified(before)[0]) == ["DequantizeLinear", "MatMul"]


def test_outputs_that_are_not_kept_take_their_nodes_along():
    before = model("two (float[n] x) => (float[n] a, float[n] b) { a = Relu (x) b = Exp (x) }")

    after = keep_outputs(before, ["b"])

    assert kinds(after) == ["Exp"]
    assert answers(after, draw(before)).keys() == {"b"}
    assert kinds(before) == ["Relu", "Exp"]


def test_an_output_that_is_not_there_is_told():
    with pytest.raises(UsageError, match="output 'c' is unknown; expected one of a"):
        keep_outputs(model("one (float[n] x) => (float[n] a) { a = Relu (x) }"), ["c"])


def test_a_mask_is_computed_once_and_not_once_per_layer():
    layer = """u{0} = Unsqueeze (mask, middle) f{0} = Cast <to = 1> (u{0}) i{0} = Sub (one, f{0}) m{0} = Mul (i{0}, low)
        a{0} = Add ({1}, m{0}) {2} = Softmax <axis = -1> (a{0})"""
    layers = [layer.format(0, "x", "h"), layer.format(1, "h", "g"), layer.format(2, "g", "y")]
    numbers = "int64[1] middle = {1}, float one = {1.0}, float low = {-10000.0}"
    before = model(
        f"layers (float[b, t, s] x, int64[b, s] mask) => (float[b, t, s] y) <{numbers}> {{ {' '.join(layers)} }}"
    )

    after, _ = guarded(before, SIMPLIFYING)

    assert kinds(before).count("Cast") == 3
    assert sorted(kinds(after)) == sorted(["Unsqueeze", "Cast", "Sub", "Mul", *["Add", "Softmax"] * 3])
    assert error(before, after, draw(before)) == 0


def test_masks_of_two_kinds_stay_two():
    body = "f = Cast <to = 1> (mask) a = Mul (f, low) b = Mul (f, high) c = Add (x, a) y = Add (c, b)"
    numbers = "float low = {-10000.0}, float high = {-20000.0}"
    before = model(f"two (float[b, s] x, int64[b, s] mask) => (float[b, s] y) <{numbers}> {{ {body} }}")

    assert kinds(guarded(before, SIMPLIFYING)[0]).count("Mul") == 2
