import hashlib

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxwright.files import digest, outline

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
    shapes (float[n] x, float[3] w, float[m] unused) => (float[n] y, float z)
    <float[3] w = {1, 2, 3}, int64[1] axes = {0}>
    { k = Constant<value = float16[2] {1, 2}>()  y = Identity(x)  z = ReduceSum<keepdims = 0>(x, axes) }"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(TEXT), path)
    return path


@pytest.fixture
def split(tmp_path):
    weight = onnx.numpy_helper.from_array(np.arange(600, dtype=np.float32).reshape(20, 30), "w")
    graph = onnx.parser.parse_graph("g (float[20, 30] x) => (float[20, 30] y) { y = Add(x, w) }")
    graph.initializer.append(weight)
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph), path, save_as_external_data=True, location="model.onnx.data")
    return path


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_outline_names_the_boundary_in_order_without_initializers(file):
    assert outline(file).inputs == ("x", "unused")
    assert outline(file).outputs == ("y", "z")


def test_outline_counts_elements_of_initializers_and_constants_by_type(file):
    assert outline(file).weights == {onnx.TensorProto.FLOAT: 3, onnx.TensorProto.INT64: 1, onnx.TensorProto.FLOAT16: 2}
    assert outline(file).precision == "float32"


def test_outline_looks_into_branches(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]> branch (bool b) => (float[2] y) {
        y = If(b) <then_branch = t () => (float[2] p) <float[2] p = {1, 2}> {},
                   else_branch = e () => (float[2] q) { q = Constant<value = double[3] {1, 2, 3}>() }> }"""
    path = tmp_path / "branch.onnx"
    onnx.save(onnx.parser.parse_model(text), path)

    assert outline(path).weights == {onnx.TensorProto.FLOAT: 2, onnx.TensorProto.DOUBLE: 3}


def test_outline_counts_weights_that_lie_outside(split):
    assert outline(split).weights == {onnx.TensorProto.FLOAT: 600}


def test_outline_has_no_precision_without_weights(tmp_path):
    path = tmp_path / "bare.onnx"
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { y = Neg(x) }'
        ),
        path,
    )

    assert outline(path).precision is None


@pytest.mark.parametrize("kept", [0, 1, 7, 60, 150])
def test_outline_refuses_a_file_that_is_cut_short(file, kept):
    file.write_bytes(file.read_bytes()[:kept])

    with pytest.raises(ValueError, match=r"empty|middle|longer|no graph"):
        outline(file)


def test_outline_refuses_other_bytes(file):
    file.write_bytes(b"<html>not a model</html>")

    with pytest.raises(ValueError, match=r"wire type|longer|middle|no graph"):
        outline(file)


def test_digest_is_the_sha256_of_the_file(file):
    assert digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_digest_changes_with_any_byte_inside(file):
    before = digest(file)
    flip(file)

    assert digest(file) != before


def test_digest_changes_with_any_byte_of_the_weights_outside(split):
    before = digest(split)
    flip(split.with_name("model.onnx.data"))

    assert digest(split) != before
