"""Graphs whose quantized operators engines are to leave as they are."""

import numpy as np
import onnx
import pytest

from onnxwright.approach import Approach
from onnxwright.backends import Options, engines
from onnxwright.files import AS_WRITTEN, properties
from onnxwright.manifest import Proof, Tolerance
from onnxwright.repairs import Seen
from onnxwright.repairs.as_written import REPAIR
from onnxwright.stages.load import load

# Biases that are no multiple of the product of both scales, 0.25: whole numbers would round them.
BODY = """
<ir_version: 8, opset_import: ["" : 17]>
biased (float[n, 2] x) => (float[n, 2] y)
<float s = {0.5}, int8 z = {0}, int8[2, 2] w = {1, 2, 3, 4}, float[2] b = {0.1, 0.4}, float t = {0.05}> {
    a = QuantizeLinear (x, s, z)  c = DequantizeLinear (a, s, z)  d = DequantizeLinear (w, s, z)
    e = Gemm (c, d, b)  f = QuantizeLinear (e, t, z)  y = DequantizeLinear (f, t, z)
}
"""
ROWS = np.array([[0.5, 1.0], [-0.5, 1.5]], np.float32)


@pytest.fixture
def save(tmp_path):
    def save_graph(**kept):
        model = onnx.parser.parse_model(BODY)
        onnx.helper.set_model_props(model, kept)
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return save_graph


WANTED = ROWS @ (np.array([[1, 2], [3, 4]], np.float32) * 0.5) + np.array([0.1, 0.4], np.float32)
PROVIDERS = {"onnxruntime": "CPUExecutionProvider", "openvino": "CPU"}


@pytest.mark.parametrize("engine", PROVIDERS)
def test_are_computed_as_they_are(engine, save):
    session = engines()[engine].prepare(save(**{AS_WRITTEN: f"another {engine}"}), Options(1))

    np.testing.assert_allclose(session.run({"x": ROWS})["y"], WANTED, atol=1e-6)
    assert session.ran.provider == f"{PROVIDERS[engine]} (quantized operators as written)"


def test_a_file_from_before_engines_were_named_asks_onnx_runtime_for_it(save):
    session = engines()["onnxruntime"].prepare(save(**{AS_WRITTEN: "true"}), Options(1))

    np.testing.assert_allclose(session.run({"x": ROWS})["y"], WANTED, atol=1e-6)
    assert engines()["openvino"].prepare(save(**{AS_WRITTEN: "true"}), Options(1)).ran.provider == "CPU"


@pytest.mark.parametrize("kept", [{}, {AS_WRITTEN: "openvino"}])
def test_are_computed_in_whole_numbers_else(kept, save):
    session = engines()["onnxruntime"].prepare(save(**kept), Options(1))

    assert np.abs(session.run({"x": ROWS})["y"] - WANTED).max() > 0.04
    assert session.ran.provider == "CPUExecutionProvider"


@pytest.mark.parametrize("kept", [{}, {AS_WRITTEN: "onnxruntime"}])
def test_openvino_computes_them_in_whole_numbers_else(kept, save):
    session = engines()["openvino"].prepare(save(**kept), Options(1))

    assert session.ran.precision == "int8"
    assert session.ran.provider == "CPU"


def test_properties_are_read_without_onnx(save):
    assert properties(save(one="1", two="zwei")) == {"one": "1", "two": "zwei"}
    assert properties(save()) == {}


def proof(candidate, verdict):
    said = Tolerance("same-precision", {}, {}, "said")
    return Proof(verdict, {}, 1, None, said, "it", f"{candidate} 1.0 CPU float32")


@pytest.mark.parametrize(
    ("proofs", "named"),
    [
        ([("onnxruntime", "failed")], ["onnxruntime"]),
        ([("onnxruntime", "proven"), ("openvino", "partial")], ["openvino"]),
        ([("openvino", "failed"), ("onnxruntime", "failed")], ["onnxruntime openvino"]),
        ([("onnxruntime", "proven"), ("openvino", "proven")], []),
        ([("tensorrt", "failed")], []),
    ],
)
def test_the_engines_that_answer_otherwise_are_asked_for_it(proofs, named, save):
    one, *others = (proof(*each) for each in proofs)
    seen = Seen(load(save()), Approach("given", 17), "", (), one, others=tuple(others))

    assert list(REPAIR.proposals(seen)) == named


def test_nothing_is_asked_of_a_graph_that_does_not_quantize(tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { y = Neg (x) }'
    )
    onnx.save(model, tmp_path / "model.onnx")
    seen = Seen(load(tmp_path / "model.onnx"), Approach("given", 17), "", (), proof("openvino", "failed"))

    assert list(REPAIR.proposals(seen)) == []
