"""What overflows in float16 is seen on a processor that computes in float32."""

import numpy as np
import pytest
from cases.graphs import answers, kinds, model

from onnxwright.backends import Options
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.graph.guarding import invalidity
from onnxwright.graph.precision.floats import lowered
from onnxwright.graph.precision.witnessing import witness
from onnxwright.graph.saving import save_model

TEXT = """g (float[n, 4] x) => (float[n, 4] y) <float big = {300}> {
    a = Mul (x, big) b = Mul (a, big) c = Div (b, big) d = Div (c, big) y = Tanh (d) }"""
FEEDS = {"x": np.array([[0.3, -0.7, 1.5, -2.5]], np.float32)}


def answered(graph, folder):
    save_model(graph, folder / "model.onnx")
    return OnnxRuntimeSession(folder / "model.onnx", Options(1), is_optimized=False).run(FEEDS)["y"]


def test_without_it_onnx_runtime_hides_an_overflow(tmp_path):
    careless = lowered(model(TEXT), "float16", None).model

    assert np.isfinite(answered(careless, tmp_path)).all()
    assert np.abs(answers(model(TEXT), FEEDS)["y"] - answered(careless, tmp_path)).max() < 1e-3


def test_with_it_the_overflow_is_seen(tmp_path):
    careless = witness(lowered(model(TEXT), "float16", None).model)

    assert not invalidity(careless)
    assert np.abs(answers(model(TEXT), FEEDS)["y"] - answered(careless, tmp_path))[0, 2:].max() > 0.01


def test_what_was_kept_answers_right(tmp_path):
    kept = witness(lowered(model(TEXT), "float16", None, kept=dict.fromkeys("bc", "asked for")).model)

    assert np.abs(answers(model(TEXT), FEEDS)["y"] - answered(kept, tmp_path)).max() < 1e-3


@pytest.mark.parametrize("keeps_io", [True, False])
def test_the_boundary_stays(keeps_io):
    before = lowered(model(TEXT), "float16", None, keeps_io=keeps_io).model

    after = witness(before)

    assert [(value.name, value.type) for value in after.graph.outputs] == [
        (value.name, value.type) for value in before.graph.outputs
    ]
    assert kinds(after).count("Identity") > 3
    assert kinds(before).count("Identity") == 0
