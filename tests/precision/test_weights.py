"""Weights of few bits: what they stand for, in both forms, and what stays as it was."""

import numpy as np
import onnx_ir as ir
import pytest
from cases.graphs import answers, draw, kinds, model

from onnxwright.errors import UsageError
from onnxwright.graph.comparing import structure
from onnxwright.graph.precision import rounding
from onnxwright.graph.precision.rounding import METHODS, rounded
from onnxwright.graph.precision.tables import with_compact_tables
from onnxwright.graph.precision.weights import Rounding, with_quantized_weights
from onnxwright.tolerance import RUN_TO_RUN, SAME_PRECISION, distance

EXACT = SAME_PRECISION.limit(RUN_TO_RUN)
PRODUCT = "g (float[n, 80] x, float[80, 48] w) => (float[n, 48] y) { y = MatMul (x, w) }"
GEMM = """g (float[n, 80] x, float[48, 80] w, float[48] b) => (float[n, 48] y) {
    y = Gemm <transB = 1> (x, w, b) }"""
FORMS = [("MatMulNBits", 18), ("DequantizeLinear", 21)]


def off(before, after, feeds):
    return max(distance(one, answers(after, feeds)[name]) for name, one in answers(before, feeds).items())


def weight_of(text, **how):
    """The weight of a graph after rounding, [output, input]."""
    given = model(text, weights=["w", "b"]).graph.initializers["w"].const_value.numpy()
    matrix = given if "transB" in text else given.T
    return rounded(matrix, **how).numbers(matrix.shape[1])


def replaced(before, numbers, *, is_turned):
    """The graph as it was, with these numbers for its weight."""
    made = before.clone()
    made.graph.initializers["w"].const_value = ir.tensor(numbers if is_turned else numbers.T.copy(), name="w")
    return made


@pytest.mark.parametrize(("form", "opset"), FORMS)
@pytest.mark.parametrize("text", [PRODUCT, GEMM], ids=["MatMul", "Gemm"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("method", METHODS)
def test_a_product_is_that_with_the_rounded_weight(form, opset, text, bits, method):
    before = model(text, opset=opset, weights=["w", "b"])

    after = with_quantized_weights(before, Rounding(bits, 32, method, form))

    is_whole = form == "DequantizeLinear" or bits == 8
    numbers = weight_of(text, bits=bits, block=32, method=method, has_whole_zeros=is_whole)
    same = replaced(before, numbers, is_turned="transB" in text)
    assert not after.kept
    assert "w" not in after.model.graph.initializers
    assert off(same, after.model, draw(before)) <= EXACT
    assert off(before, after.model, draw(before)) > EXACT


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize("text", [PRODUCT, GEMM], ids=["MatMul", "Gemm"])
@pytest.mark.parametrize("method", ["rtn", "rtn-symmetric"])
def test_whole_columns_need_no_late_opset(opset, text, method):
    before = model(text, opset=opset, weights=["w", "b"])

    after = with_quantized_weights(before, Rounding(8, 0, method, "DequantizeLinear")).model

    numbers = weight_of(text, bits=8, block=80, method=method)
    assert kinds(after)[0] == "DequantizeLinear"
    assert off(replaced(before, numbers, is_turned="transB" in text), after, draw(before)) <= EXACT


def test_four_bits_take_an_eighth_of_the_memory():
    before = model(PRODUCT, weights=["w"])

    after = with_quantized_weights(before, Rounding(4, 32)).model

    codes = after.graph.initializers["w_codes"].const_value
    assert codes.shape.numpy() == (48, 3, 16)
    assert codes.nbytes == 48 * 96 / 2


def drawn(rows=64, columns=256):
    """A matrix with a few numbers that are far off, as trained weights have them."""
    numbers = np.random.default_rng(3)
    matrix = numbers.standard_normal((rows, columns)).astype(np.float32)
    matrix[numbers.random(matrix.shape) < 0.01] *= 6
    return matrix


def loss(matrix, method, *, norm=0.7, **how):
    blocks = rounded(matrix, 4, 64, method, **how)
    return float((np.abs(matrix - blocks.numbers(matrix.shape[1])) ** norm).mean())


def test_the_half_quadratic_loses_less_where_few_are_far_off():
    matrix = drawn()

    assert loss(matrix, "hqq", has_whole_zeros=False) < loss(matrix, "rtn")
    assert loss(matrix, "rtn") < loss(matrix, "rtn-symmetric")


def test_nearest_loses_no_more_than_onnx_runtimes_own():
    from onnxruntime.capi._pybind_state import quantize_matmul_4bits

    matrix = drawn()
    codes, zeros = np.zeros((64, 4, 32), np.uint8), np.zeros((64, 2), np.uint8)
    scales = np.zeros((64, 4), np.float32)
    quantize_matmul_4bits(codes, np.ascontiguousarray(matrix.T), scales, zeros, 64, 64, 256, False)
    apart = np.stack([codes & 15, codes >> 4], axis=-1).reshape(64, 4, 64).astype(np.float32)
    offsets = np.stack([zeros & 15, zeros >> 4], axis=-1).reshape(64, 4, 1).astype(np.float32)
    theirs = ((apart - offsets) * scales[..., None]).reshape(64, 256)

    assert loss(matrix, "rtn") <= 1.001 * float((np.abs(matrix - theirs) ** 0.7).mean())


@pytest.mark.parametrize("method", METHODS)
def test_a_block_of_zeros_stays_one(method):
    assert not rounded(np.zeros((2, 32), np.float32), 4, 16, method).numbers(32).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [4, 8])
def test_no_number_is_farther_off_than_a_step(method, bits):
    matrix = drawn()
    blocks = rounded(matrix, bits, 64, method)

    steps = np.repeat(blocks.scales, 64, axis=1)
    assert (np.abs(matrix - blocks.numbers(256)) <= steps * 1.001).mean() > 0.999


def test_a_large_matrix_is_rounded_in_parts(monkeypatch):
    whole = rounded(drawn(), 4, 64, "rtn")
    monkeypatch.setattr(rounding, "_PART", 256 * 10)

    parts = rounded(drawn(), 4, 64, "rtn")

    assert np.array_equal(whole.codes, parts.codes)
    assert np.array_equal(whole.numbers(256), parts.numbers(256))


SHARED = """g (float[n, 64] x, float[64, 64] w) => (float[n, 64] y) {
    a = MatMul (x, w) b = Relu (a) y = MatMul (b, w) }"""


def test_a_weight_that_several_share_is_rounded_once():
    after = with_quantized_weights(model(SHARED, weights=["w"]), Rounding()).model

    assert [name for name in after.graph.initializers if name.endswith("codes")] == ["w_codes"]


def test_a_weight_that_something_else_takes_stays_beside_its_codes():
    text = "g (float[64, 64] x, float[64, 64] w) => (float[64, 64] y) { a = MatMul (x, w) y = Add (a, w) }"

    after = with_quantized_weights(model(text, weights=["w"]), Rounding()).model

    assert {"w", "w_codes"} <= set(after.graph.initializers)


def test_named_nodes_and_small_weights_stay_and_are_told():
    text = """g (float[n, 64] x, float[64, 64] w, float[64, 8] v) => (float[n, 8] y) {
        a = MatMul (x, w) y = MatMul (a, v) }"""
    before = model(text, weights=["w", "v"])

    after = with_quantized_weights(before, Rounding(), kept={"a": "asked for"})

    assert after.kept == {"a": "asked for", "y": "its weight is smaller than a block of 32"}
    assert structure(after.model) == structure(before)


def test_products_of_what_is_computed_are_no_matter():
    before = model("g (float[n, n] x) => (float[n, n] y) { y = MatMul (x, x) }")

    assert not with_quantized_weights(before, Rounding()).kept


@pytest.mark.parametrize("attributes", ["transB = 1, transA = 1", "transB = 1, alpha = 2.0"])
def test_a_gemm_that_does_more_stays_or_keeps_doing_it(attributes):
    text = (
        GEMM.replace("transB = 1", attributes)
        .replace("float[n, 80]", "float[80, 80]")
        .replace("float[n, 48]", "float[80, 48]")
    )
    before = model(text, opset=21, weights=["w", "b"])

    as_contrib = with_quantized_weights(before, Rounding())
    as_standard = with_quantized_weights(before, Rounding(form="DequantizeLinear"))

    assert list(as_contrib.kept) == ["y"]
    assert not as_standard.kept
    same = replaced(before, weight_of(GEMM, bits=4, block=32, method="rtn"), is_turned=True)
    assert off(same, as_standard.model, draw(before)) <= EXACT


def test_the_graph_that_is_given_stays_as_it_is():
    before = model(PRODUCT, weights=["w"])
    text = ir.to_proto(before).SerializeToString()

    with_quantized_weights(before, Rounding())

    assert ir.to_proto(before).SerializeToString() == text


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"bits": 3}, "bits '3' is unknown; expected one of 4, 8"),
        ({"method": "gptq"}, "method 'gptq' is unknown; expected one of hqq, rtn, rtn-symmetric"),
        ({"form": "QDQ"}, "form 'QDQ' is unknown"),
        ({"block": 20}, "block 20: expected a power of 2 from 16 on"),
        ({"block": 0}, "block 0: expected a power of 2 from 16 on"),
    ],
)
def test_refuses_what_there_is_not(how, told):
    with pytest.raises(UsageError, match=told):
        Rounding(**how)


@pytest.mark.parametrize("how", [Rounding(4, 0, form="DequantizeLinear"), Rounding(8, 32, form="DequantizeLinear")])
def test_refuses_an_opset_without_blocks(how):
    with pytest.raises(UsageError, match="needs opset 21, got 18"):
        with_quantized_weights(model(PRODUCT, weights=["w"]), how)


TABLE = "g (int64[n] ids, float[40, 24] w) => (float[n, 24] y) { a = Gather (w, ids) y = Neg (a) }"


@pytest.mark.parametrize(("storage", "most"), [("int8", 2e-2), ("float16", 1e-3)])
@pytest.mark.parametrize("opset", [13, 18, 23])
def test_a_table_is_stored_in_fewer_bits(storage, most, opset):
    before = model(TABLE, opset=opset, weights=["w"])
    feeds = {"ids": np.array([3, 0, 39])}

    after = with_compact_tables(before, storage)

    stored = sum(value.const_value.nbytes for value in after.model.graph.initializers.values())
    assert not after.kept
    assert stored < 40 * 24 * 4 * 0.55
    given, expected = answers(after.model, feeds)["y"], answers(before, feeds)["y"]
    assert 0 < np.abs(given - expected).max() / np.abs(expected).max() < most


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_a_table_whose_rows_are_the_answer_keeps_the_name(storage):
    before = model("g (int64[n] ids, float[40, 24] w) => (float[n, 24] y) { y = Gather (w, ids) }", weights=["w"])

    after = with_compact_tables(before, storage).model

    assert [value.name for value in after.graph.outputs] == ["y"]
    assert answers(after, {"ids": np.array([1])})["y"].dtype == np.float32


def test_a_table_with_infinity_stays():
    before = model(TABLE, weights=["w"])
    numbers = before.graph.initializers["w"].const_value.numpy().copy()
    numbers[3, 1] = -np.inf
    before.graph.initializers["w"].const_value = ir.tensor(numbers, name="w")

    assert set(with_compact_tables(before, "int8").kept.values()) == {
        "its table holds NaN or infinity, and no scale holds these"
    }


def test_a_tied_table_and_columns_stay():
    tied = """g (int64[n] ids, float[40, 24] w) => (float[n, 40] y) {
        a = Gather (w, ids) t = Transpose (w) y = MatMul (a, t) }"""
    columns = "g (int64[n] ids, float[40, 24] w) => (float[40, n] y) { y = Gather <axis = 1> (w, ids) }"

    assert set(with_compact_tables(model(tied, weights=["w"]), "int8").kept.values()) == {
        "its table is not only looked up in"
    }
    assert with_compact_tables(model(columns, weights=["w"]), "int8").kept == {"y": "it looks up columns"}
    assert with_compact_tables(model(TABLE, weights=["w"]), "int8", kept={"a": "asked for"}).kept == {"a": "asked for"}


def test_refuses_another_storage():
    with pytest.raises(UsageError, match="storage 'int4' is unknown; expected one of float16, int8"):
        with_compact_tables(model(TABLE, weights=["w"]), "int4")
