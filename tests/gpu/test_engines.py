"""Engines on a GPU: skipped, with the reason, where there is none."""

import numpy as np
import onnx
import pytest

import onnxwright as ow
from onnxwright import backends
from onnxwright.engine import Engine

TEXT = """<ir_version: 8, opset_import: ["" : 18]>
dense (float[batch, sequence, 4] x) => (float[batch, sequence, 4] y)
    <float[4, 4] w = {1, -2, 3, 4, 5, 6, -7, 8, 9, 1, 2, -3, 4, 5, 6, 7}> { h = MatMul (x, w) y = Relu (h) }"""
PROFILE = {"batch": (1, 2, 4), "sequence": (1, 8, 32)}


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def package(request, tmp_path_factory):
    reason = backends.engines()[request.param].available()
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    folder = tmp_path_factory.mktemp("gpu")
    onnx.save(onnx.parser.parse_model(TEXT), folder / "model.onnx")
    made = ow.convert(folder / "model.onnx", folder / "out", profile=PROFILE, engine="onnxruntime", measure=False)
    ow.build(made.folder, engine=request.param, buckets=[8])
    return made, request.param


def test_an_engine_is_executed_and_proven(package):
    made, name = package

    proof = ow.prove(made.folder, engine=name)[name]

    assert proof.verdict in {"proven", "partial"}
    assert Engine.open(made.folder / "engines" / name).manifest.executed


@pytest.mark.parametrize("sequence", [1, 8, 9, 32])
def test_answers_at_any_size_of_any_profile(package, sequence):
    made, name = package
    x = np.random.default_rng(0).standard_normal((3, sequence, 4)).astype(np.float32)
    session = Engine.open(made.folder / "engines" / name).session()

    expected = made.session(engine="onnxruntime").run({"x": x})["y"]

    np.testing.assert_allclose(session.run({"x": x})["y"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(session.run({"x": 2 * x})["y"], 2 * expected, rtol=1e-4, atol=1e-4)


VALUES = """<ir_version: 8, opset_import: ["" : 18]>
counted (float[n, 4] x, int16[n, 4] z) => (float[k, 4] y, double[n, 4] w)
    <float o = {0}, int64[1] a = {1}, int64[1] f = {0}> {
    s = ReduceSum <keepdims = 0> (x, a) c = Less (s, o) i = Cast <to = 7> (c) m = ReduceSum <keepdims = 1> (i)
    y = Slice (x, f, m, f) b = Cast <to = 1> (z) d = Exp (b) w = Cast <to = 11> (d) }"""


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_outputs_have_the_size_and_the_type_that_the_graph_gives_them(name, tmp_path):
    reason = backends.engines()[name].available()
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    onnx.save(onnx.parser.parse_model(VALUES), tmp_path / "model.onnx")
    made = ow.convert(
        tmp_path / "model.onnx", tmp_path / "out", profile={"n": (1, 4, 8)}, engine="onnxruntime", measure=False
    )
    session = ow.build(made.folder, engine=name).session()
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)

    for sign in (1, -1):
        feeds = {"x": sign * x, "z": (3 * x).astype(np.int16)}
        expected, found = made.session(engine="onnxruntime").run(feeds), session.run(feeds)
        assert {key: (one.shape, one.dtype) for key, one in found.items()} == {
            key: (one.shape, one.dtype) for key, one in expected.items()
        }
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-5, atol=1e-5)


def test_tensors_on_the_gpu_are_not_copied(package):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    made, name = package
    x = torch.randn(2, 8, 4, device="cuda")
    session = Engine.open(made.folder / "engines" / name).session()

    answered = torch.as_tensor(session.run_on_device({"x": x})["y"], device="cuda").cpu().numpy()

    np.testing.assert_allclose(answered, session.run({"x": x.cpu().numpy()})["y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_provider_binds_tensors_on_the_gpu(name, tmp_path):
    torch = pytest.importorskip("torch")
    reason = backends.engines()[name].available()
    if reason is not None or not torch.cuda.is_available():
        pytest.skip(f"{name}: {reason or 'PyTorch sees no GPU'}")
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "model.onnx")
    session = backends.engine(name).prepare(tmp_path / "model.onnx", backends.Options(1))
    x = torch.randn(2, 8, 4, device="cuda")

    for _ in range(3):
        x = x * 2 + 1  # still being computed when it is handed over
        answered = torch.as_tensor(session.run_on_device({"x": x})["y"], device="cuda").cpu().numpy()
        np.testing.assert_allclose(answered, session.run({"x": x.cpu().numpy()})["y"], rtol=1e-4, atol=1e-4)
