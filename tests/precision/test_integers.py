"""Products in int8: what is written computes what numpy says of scales, and only where it was asked for."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxwright import environment
from onnxwright.backends import Options
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.errors import RouteError, UsageError
from onnxwright.graph.precision.activations import activations, tapped
from onnxwright.graph.precision.choosing import settings
from onnxwright.graph.precision.integers import (
    SWITCH,
    prepared,
    with_fixed_scales,
    with_measured_scales,
    with_switches,
)
from onnxwright.graph.precision.products import products
from onnxwright.graph.precision.scales import Scale, largest_weight, quantized, restored
from onnxwright.graph.saving import save_model

RNG = np.random.default_rng(0)
W = RNG.normal(size=(16, 24)).astype(np.float32)
V = RNG.normal(size=(24, 8)).astype(np.float32)
TWO = """
<ir_version: 8, opset_import: ["" : {opset}]>
g (float[batch, 16] x) => (float[batch, 8] y, float[batch, 24] z) {{
    a = MatMul (x, w)
    b = Relu (a)
    y = MatMul (b, v)
    z = MatMul (x, w)
}}
"""
FEEDS = [{"x": RNG.normal(size=(size, 16)).astype(np.float32)} for size in (8, 9, 16, 5, 12, 7)]


def graph(text, **weights):
    model = ir.from_onnx_text(text)
    for name, array in weights.items():
        value = next(value for node in model.graph for value in node.inputs if value is not None and value.name == name)
        value.const_value = ir.tensor(array, name=name)
        value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(array.shape)
        model.graph.register_initializer(value)
    return model


def two(opset=18):
    return graph(TWO.format(opset=opset), w=W, v=V)


@pytest.fixture
def load(tmp_path):
    def prepare(model, *, is_optimized=False):
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
        save_model(model, file)
        return OnnxRuntimeSession(file, Options(1), is_optimized=is_optimized)

    return prepare


def found(model, load, **options):
    own = products(model)
    return settings(own, activations(load(tapped(model, own)), FEEDS, own), **{"is_symmetric": True, **options})


def rounded_product(x, weight, scale):
    whole, columns = quantized(weight, 1)
    return scale.rounded(x) @ restored(whole, columns, 1)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_fixed_scales_compute_what_the_scales_say(load, is_symmetric):
    model = prepared(two())
    chosen = found(model, load, is_symmetric=is_symmetric)
    answered = load(with_fixed_scales(model, chosen)).run(FEEDS[0])

    x = FEEDS[0]["x"]
    first = rounded_product(x, W, chosen["x"].scale)
    second = rounded_product(np.maximum(first, 0), V, chosen["b"].scale)
    np.testing.assert_allclose(answered["z"], first, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answered["y"], second, rtol=1e-3, atol=2e-3)
    assert 1e-4 < np.abs(answered["z"] - x @ W).max() < 0.3


def test_what_goes_into_several_products_is_rounded_once_and_equal_weights_are_held_once(load):
    model = prepared(two())
    made = with_fixed_scales(model, found(model, load))

    kinds = [node.op_type for node in made.graph]
    assert kinds.count("QuantizeLinear") == 2
    assert (
        sum(value.dtype == ir.DataType.INT8 and value.shape.rank() == 2 for value in made.graph.initializers.values())
        == 2
    )
    assert "w" not in made.graph.initializers


def test_what_is_kept_stays_and_the_model_given_is_not_changed(load):
    model = prepared(two())
    before = ir.to_proto(model).SerializeToString()
    last = next(one.name for one in products(model) if one.activation.name == "b")
    made = with_fixed_scales(model, found(model, load), kept={last})

    assert sum(node.op_type == "QuantizeLinear" for node in made.graph) == 1
    assert ir.to_proto(model).SerializeToString() == before


def test_older_graphs_are_brought_to_an_opset_with_scales_by_channel(load):
    model = prepared(two(opset=11))
    answered = load(with_fixed_scales(model, found(model, load))).run(FEEDS[0])

    assert model.opset_imports[""] == 13
    assert np.abs(answered["z"] - FEEDS[0]["x"] @ W).max() < 0.3


def test_measured_scales_answer_nearly_the_same_and_depend_on_the_other_rows(load):
    session = load(with_measured_scales(prepared(two())))
    x = FEEDS[0]["x"]
    alone, together = session.run({"x": x[:1]}), session.run({"x": np.concatenate([x[:1], 100 * x[1:]])})

    np.testing.assert_allclose(session.run(FEEDS[0])["z"], x @ W, atol=0.3)
    assert np.abs(alone["z"] - together["z"][:1]).max() > 0.05


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_with_a_bias_is_computed_in_whole_numbers(load, turned):
    text = f"""
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[batch, 16] x) => (float[batch, 24] y) {{ y = Gemm <transB = {turned}> (x, w, c) }}
    """
    bias = RNG.normal(size=24).astype(np.float32)
    model = prepared(graph(text, w=W.T.copy() if turned else W, c=bias))
    expected = FEEDS[0]["x"] @ W + bias
    made = (with_fixed_scales(model, found(model, load)), with_measured_scales(model))

    for one in made:
        assert {"QuantizeLinear", "MatMulInteger"} & {node.op_type for node in one.graph}
        np.testing.assert_allclose(load(one).run(FEEDS[0])["y"], expected, atol=0.3)


def test_convolutions_have_scales_by_what_comes_out(load):
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[batch, 4, size] x) => (float[batch, 6, out] y) { y = Conv <pads = [1, 1]> (x, w) }
    """
    weight = RNG.normal(size=(6, 4, 3)).astype(np.float32)
    model = prepared(graph(text, w=weight))
    own = products(model)
    feeds = [{"x": RNG.normal(size=(2, 4, size)).astype(np.float32)} for size in (5, 9)]
    chosen = settings(own, activations(load(tapped(model, own)), feeds, own), is_symmetric=True, alphas=(0.5,))
    made = with_fixed_scales(model, chosen)

    scale = next(value for name, value in made.graph.initializers.items() if name.endswith("int8/scale"))
    assert list(scale.shape) == [6]
    right, answered = load(model).run(feeds[0])["y"], load(made).run(feeds[0])["y"]
    assert 0 < np.abs(right - answered).max() < 0.2


def test_a_switched_product_is_the_one_it_was_or_the_one_in_int8(load):
    model = prepared(two())
    chosen = found(model, load)
    session, fixed = load(with_switches(model, chosen)), load(with_fixed_scales(model, chosen))
    names = [f"{one.name}{SWITCH}" for one in products(model)]

    off = session.run({**FEEDS[0], **{name: np.array(False) for name in names}})
    on = session.run({**FEEDS[0], **{name: np.array(True) for name in names}})
    np.testing.assert_array_equal(off["y"], load(model).run(FEEDS[0])["y"])
    np.testing.assert_allclose(on["y"], fixed.run(FEEDS[0])["y"], rtol=1e-5, atol=1e-5)


def test_balanced_channels_err_less_where_one_is_far_larger(load):
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[batch, 16] x) => (float[batch, 24] y) { s = Mul (x, f)
    y = MatMul (s, w) }
    """
    factor = np.ones(16, np.float32)
    factor[3] = 60
    weight = W.copy()
    weight[3] /= 60
    model = prepared(graph(text, f=factor, w=weight))
    plain, balanced = found(model, load), found(model, load, alphas=(0.5, 0.75))

    expected = load(model).run(FEEDS[1])["y"]
    errors = [
        np.abs(load(with_fixed_scales(model, one)).run(FEEDS[1])["y"] - expected).mean() for one in (plain, balanced)
    ]
    assert balanced["s"].balance is not None
    assert errors[1] < errors[0] / 4


def test_products_in_branches_and_of_computed_weights_are_left_alone():
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[16, 16] x, bool c) => (float[16, 16] y) {
        a = MatMul (x, x)
        y = If (c) <then_branch = t () => (float[16, 16] p) { p = MatMul (a, w) },
                    else_branch = e () => (float[16, 16] q) { q = Identity (a) }>
    }
    """
    model = ir.from_onnx_text(
        text.replace("g (float[16, 16] x, bool c)", "g (float[16, 16] x, bool c, float[16, 16] w)")
    )

    assert products(model) == []


def test_samples_that_are_not_finite_are_refused_by_the_name_of_the_value(load):
    model = prepared(two())
    own = products(model)
    wrong = [{"x": np.full((2, 16), np.inf, np.float32)}]

    with pytest.raises(UsageError, match="'x' holds NaN or infinity on the samples"):
        activations(load(tapped(model, own)), wrong, own)
    with pytest.raises(UsageError, match="there are none"):
        activations(load(tapped(model, own)), [], own)


@pytest.mark.parametrize("ends", [(-3.0, 5.0), (0.0, 1.0), (-2.0, 0.0), (0.0, 0.0), (0.5, 2.0)])
@pytest.mark.parametrize("is_symmetric", [True, False])
def test_a_scale_holds_its_range_to_half_a_step_and_zero_exactly(ends, is_symmetric):
    scale = Scale.of(*ends, is_symmetric=is_symmetric)
    inside = np.linspace(*ends, 101, dtype=np.float32)

    assert np.abs(scale.rounded(inside) - inside).max() <= 0.501 * scale.scale
    assert scale.rounded(np.zeros(1, np.float32))[0] == 0
    far = scale.rounded(np.array([1e6], np.float32))[0]
    assert far <= max(ends[1], -ends[0] if is_symmetric else 0.0, 1e-9) + scale.scale


def test_what_is_written_is_valid_onnx(load):
    model = prepared(two())
    chosen = found(model, load, is_symmetric=False)

    for made in (with_fixed_scales(model, chosen), with_measured_scales(model), with_switches(model, chosen)):
        onnx.checker.check_model(ir.to_proto(made), full_check=True)


SQUARE = (RNG.normal(size=(16, 16)) * np.exp(2 * RNG.normal(size=(16, 1)))).astype(np.float32)


def test_a_weight_that_two_products_take_by_different_axes_has_scales_for_each(load):
    """As of an autoencoder with tied weights: `x @ w.T`, then `@ w`."""
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[batch, 16] x) => (float[batch, 16] y, float[batch, 16] z) {
        y = Gemm <transB = 1> (x, w)
        z = MatMul (x, w)
    }
    """
    model = prepared(graph(text, w=SQUARE))
    expected = load(model).run(FEEDS[0])

    for made in (with_fixed_scales(model, found(model, load)), with_measured_scales(model)):
        answered = load(made).run(FEEDS[0])
        for name, array in expected.items():
            assert np.linalg.norm(answered[name] - array) < 0.03 * np.linalg.norm(array)


def test_names_that_a_graph_has_already_are_not_taken_again(load):
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[batch, 16] x) => (float[batch, 16] z) {
        [same] y = MatMul (x, w)
        a = Mul (y, "x/scale")
        [same] "x/quantized/QuantizeLinear/out" = MatMul (a, "w/1/int8")
        [same] z = MatMul ("x/quantized/QuantizeLinear/out", "x/zero")
    }
    """
    names = {'"x/scale"': "s", '"w/1/int8"': "v", '"x/zero"': "u", '"x/quantized/QuantizeLinear/out"': "q"}
    for name, short in names.items():
        text = text.replace(name, short)
    model = graph(text, w=SQUARE, s=np.ones(16, np.float32), v=SQUARE, u=SQUARE)
    for name, short in names.items():
        value = next(value for node in model.graph for value in node.inputs if value.name == short)
        value.name = name.strip('"')
    model = prepared(model)
    chosen = found(model, load)

    assert len({one.name for one in products(model)}) == 3
    expected = load(model).run(FEEDS[0])["z"]
    for made in (with_fixed_scales(model, chosen), with_measured_scales(model)):
        onnx.checker.check_model(ir.to_proto(made), full_check=True)
        answered = load(made).run(FEEDS[0])["z"]
        assert np.linalg.norm(answered - expected) < 0.05 * np.linalg.norm(expected)
    onnx.checker.check_model(ir.to_proto(with_switches(model, chosen)), full_check=True)


def test_weights_that_are_not_finite_are_refused_by_name():
    broken = W.copy()
    broken[2, 3] = np.inf

    with pytest.raises(RouteError, match="weight 'w' holds NaN or infinity"):
        prepared(graph(TWO.format(opset=18), w=broken, v=V))


@pytest.fixture
def of_weights():
    """The largest whole number of a weight is found anew."""
    largest_weight.cache_clear()
    yield
    largest_weight.cache_clear()


@pytest.mark.usefixtures("of_weights")
@pytest.mark.parametrize(("saturates", "largest"), [(True, 64), (False, 127)])
def test_weights_take_half_the_range_where_pairs_of_products_are_added_up_in_16_bits(saturates, largest, monkeypatch):
    monkeypatch.setattr(environment, "saturates", lambda: saturates)
    weight = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)

    whole, scale = quantized(weight, 1)

    assert np.abs(whole).max() == largest
    assert np.abs(restored(whole, scale, 1) - weight).max() <= 0.5 * scale.max() + 1e-7
    assert 2 * 255 * 64 < 2**15 < 2 * 255 * 127
