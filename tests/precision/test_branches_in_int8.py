"""Products in branches are lowered where they stand, with scales of the samples that came there."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxwright as ow
from onnxwright.backends import Options
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.graph.precision.activations import activations, tapped
from onnxwright.graph.precision.integers import prepared, with_measured_scales, with_switches
from onnxwright.graph.precision.products import products
from onnxwright.graph.precision.scales import largest_weight
from onnxwright.graph.precision.weights import Rounding, with_quantized_weights
from onnxwright.graph.saving import save_model
from onnxwright.graph.surfacing import surface

WIDTH = 32
NESTED = f"""
<ir_version: 10, opset_import: ["" : 21]>
nested (float[batch, {WIDTH}] x) => (float[batch, {WIDTH}] y) {{
    h = MatMul (x, w0)
    total = ReduceSum <keepdims = 0> (x)
    nought = Constant <value = float {{0}}> ()
    hundred = Constant <value = float {{1000}}> ()
    is_more = Greater (total, nought)
    is_most = Greater (total, hundred)
    y = If (is_more) <
        then_branch = more () => (float[batch, {WIDTH}] p) {{
            a = MatMul (h, w1)
            b = Relu (a)
            p = If (is_most) <
                then_branch = most () => (float[batch, {WIDTH}] q) {{ c = Tanh (b)  q = MatMul (c, w2) }},
                else_branch = least () => (float[batch, {WIDTH}] r) {{ c = Sigmoid (b)  r = MatMul (c, w2) }}
            >
        }},
        else_branch = less () => (float[batch, {WIDTH}] s) {{ a = MatMul (h, w3)  b = Tanh (a)  s = MatMul (b, w2) }}
    >
}}
"""
LOOP = f"""
<ir_version: 10, opset_import: ["" : 21]>
loop (float[batch, {WIDTH}] x, int64 n, bool go) => (float[batch, {WIDTH}] y) {{
    y = Loop (n, go, x) <body = again (int64 i, bool on, float[batch, {WIDTH}] v)
        => (bool still, float[batch, {WIDTH}] u) {{ still = Identity (on)  u = MatMul (v, w0) }}>
}}
"""
DRAW = np.random.default_rng(0)
LESS, MORE, MOST = ({"x": (DRAW.normal(size=(8, WIDTH)) + shift).astype(np.float32)} for shift in (-1.0, 1.0, 10.0))
EACH = pytest.mark.parametrize("feeds", [LESS, MORE, MOST], ids=["less", "more", "most"])


def graph(text=NESTED, names=("w0", "w1", "w2", "w3")):
    model = onnx.parser.parse_model(text)
    for seed, name in enumerate(names):
        array = np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    return model


@pytest.fixture
def load(tmp_path):
    def prepare(model):
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
        save_model(model, file)
        return OnnxRuntimeSession(file, Options(1))

    return prepare


def error(expected, answered):
    return np.abs(expected - answered).max() / np.abs(expected).max()


LIMIT = 0.1 * 127 / largest_weight()


def inside(model):
    """The operators of all branches."""
    return [node.op_type for node in model.graph.all_nodes() if node.graph is not model.graph]


def test_products_of_all_branches_are_found_and_no_two_values_have_one_name():
    model = prepared(ir.from_proto(graph()))

    assert len(products(model)) == 6
    names = [value.name for one in model.graphs() for node in one for value in node.outputs]
    assert len(names) == len(set(names))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_what_a_loop_repeats_is_left_alone():
    model = ir.from_proto(graph(LOOP, ("w0",)))

    assert not products(prepared(model))
    assert with_quantized_weights(model, Rounding(8, 16)).model.graph.num_nodes() == 1


@EACH
def test_what_goes_into_products_of_the_branch_that_is_taken_is_seen(feeds, load):
    model = prepared(ir.from_proto(graph()))
    own = {one.name: one for one in products(model)}

    seen = activations(load(tapped(model, [*own.values()])), [feeds], [*own.values()])

    weights = {name: value.const_value for name, value in model.graph.initializers.items() if name.startswith("w")}
    h = feeds["x"] @ weights["w0"].numpy()
    then, other = (h @ weights[name].numpy() for name in ("w1", "w3"))
    more = np.maximum(then, 0)
    name, expected = {
        id(LESS): ("s", np.tanh(other)),
        id(MORE): ("r", 1 / (1 + np.exp(-more))),
        id(MOST): ("q", np.tanh(more)),
    }[id(feeds)]
    assert set(seen) == {"x", "h", own[name].activation.name}
    peaks = seen[own[name].activation.name].extent.peaks
    np.testing.assert_allclose(peaks, np.abs(expected).max(axis=0), rtol=1e-4, atol=1e-4)


@EACH
@pytest.mark.parametrize("how", ["measured", "blocks", "standard"])
def test_each_branch_answers_as_before_but_for_rounding(how, feeds, load):
    given = ir.from_proto(graph())
    expected = load(given).run(feeds)["y"]
    made = {
        "measured": lambda: with_measured_scales(prepared(given)),
        "blocks": lambda: with_quantized_weights(given, Rounding(8, 16)).model,
        "standard": lambda: with_quantized_weights(given, Rounding(8, 16, form="DequantizeLinear")).model,
    }[how]()

    assert ("MatMul" in inside(made)) is (how == "standard")
    assert not {"w0", "w1", "w2", "w3"} & {*made.graph.initializers}
    assert 1e-6 < error(expected, load(made).run(feeds)["y"]) < LIMIT


@EACH
def test_switches_of_products_in_branches_change_what_these_answer(feeds, load):
    model = prepared(ir.from_proto(graph()))
    own = products(model)
    session = load(with_switches(model, {str(one.activation.name): None for one in own}))
    expected = load(model).run(feeds)["y"]

    def answered(*chosen):
        flags = {f"{one.name}/in int8": np.asarray(one.name in chosen) for one in own}
        return error(expected, session.run({**feeds, **flags})["y"])

    alone = [answered(one.name) for one in own]
    assert answered() < 1e-6
    assert sum(one > 0 for one in alone) == 3
    assert max(alone) < LIMIT


def test_a_value_of_a_branch_is_answered_and_empty_where_the_branch_is_not_taken(load):
    model = ir.from_proto(graph())
    value = next(node.outputs[0] for node in model.graph.all_nodes() if node.op_type == "Sigmoid")

    surface(model, {"found": value})

    session = load(model)
    assert [session.run(feeds)["found"].size for feeds in (LESS, MORE, MOST)] == [0, 8 * WIDTH, 0]


def quantized(folder, samples, precision, **options):
    onnx.save(graph(), folder / "model.onnx")
    np.savez(folder / "samples.npz", x=samples)
    quick = {"measure": False, "proof": "quick", "engine": "onnxruntime", "profile": {"batch": (1, 2, 4)}}
    given = {"precision": precision, "samples": folder / "samples.npz", "max_accuracy_loss": 0.1, **quick, **options}
    return ow.quantize(folder / "model.onnx", folder / "out", **given)


def test_a_graph_with_branches_is_quantized_and_proven(tmp_path):
    samples = np.concatenate([DRAW.normal(size=(96, WIDTH)) + shift for shift in (-2, 2, 40)]).astype(np.float32)
    package = quantized(tmp_path, DRAW.permutation(samples), "int8-static")

    made = ir.load(package.file("int8"))
    assert package.proof.verdict == "proven"
    assert inside(made).count("QuantizeLinear") == 5
    assert package.manifest.quantizations["onnxruntime"].candidates[0].kept == {}


def test_a_branch_that_no_sample_takes_stays_in_float32_and_says_so(tmp_path):
    samples = (DRAW.normal(size=(96, WIDTH)) + 2).astype(np.float32)

    kept = quantized(tmp_path, samples, "int8-static").manifest.quantizations["onnxruntime"].candidates[0].kept

    assert set(kept) == {"q", "s"}
    assert all("no sample that it was calibrated with takes the branch" in reason for reason in kept.values())
