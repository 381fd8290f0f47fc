"""A graph that is the reference knows its own noise: what it answers where numbers are added in float64."""

import weakref

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxwright import reference as module
from onnxwright.given import GivenSession
from onnxwright.graph.element_types import sum_in_float64
from onnxwright.reference import reference_of
from onnxwright.stages.load import load
from onnxwright.tolerance import FLOOR_MULTIPLE, distance

WIDE = 4096
ADDING = f"""
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, {WIDE}] x, float[{WIDE}, 4] w) => (float[batch, 4] y) {{ y = MatMul (x, w) }}
"""
NOT_ADDING = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 4] x) => (float[batch, 4] y) { y = Relu (x) }
"""
WHOLE = """
<ir_version: 10, opset_import: ["" : 18]>
g (int64[batch, 4] x, int64[4, 4] w) => (int64[batch, 4] y) { y = MatMul (x, w) }
"""


@pytest.fixture
def reference(tmp_path):
    def of(text):
        file = tmp_path / "graph.onnx"
        onnx.save(onnx.parser.parse_model(text), file)
        return reference_of(load(file, ranges={"batch": (1, 2, 4)}), threads=1)

    return of


def test_the_noise_of_a_sum_is_what_float32_loses(reference):
    draw = np.random.default_rng(0)
    feeds = {"x": draw.normal(size=(3, WIDE)).astype(np.float32), "w": draw.normal(size=(WIDE, 4)).astype(np.float32)}
    found = reference(ADDING)
    answered = found.session.run(feeds)

    noise = found.noise(feeds, answered)["y"]

    exact = feeds["x"].astype(np.float64) @ feeds["w"].astype(np.float64)
    assert 0 < noise <= 2 * distance(exact, answered["y"].astype(np.float64)) + 1e-7
    assert noise * FLOOR_MULTIPLE < 1e-3
    assert "adding in float64" in found.origin


def test_a_graph_of_many_weights_is_in_memory_once_and_has_the_same_noise(reference, monkeypatch):
    draw = np.random.default_rng(0)
    feeds = {"x": draw.normal(size=(3, WIDE)).astype(np.float32), "w": draw.normal(size=(WIDE, 4)).astype(np.float32)}
    kept = reference(ADDING)
    expected = kept.noise(feeds, kept.session.run(feeds))
    del kept
    alive = weakref.WeakSet()
    load = GivenSession.__init__

    def noted(self, *given, **options):
        load(self, *given, **options)
        alive.add(self)

    monkeypatch.setattr(GivenSession, "__init__", noted)
    monkeypatch.setattr(module, "_FEW_BYTES", -1)
    found = reference(ADDING)

    assert len(alive) == 1
    assert found.noise(feeds, found.session.run(feeds)) == expected
    assert len(alive) == 1
    place = found.twin.graph.parent
    assert place.is_dir()
    del found
    assert not place.exists()


@pytest.mark.parametrize("text", [NOT_ADDING, WHOLE])
def test_a_graph_that_adds_no_floats_has_no_twin_that_adds_in_float64(text, reference):
    found = reference(text)

    assert "no twin that adds in float64" in found.origin
    assert found.order is None


def test_what_is_added_in_float64_keeps_its_names_and_types():
    model = ir.from_proto(onnx.parser.parse_model(ADDING))

    assert sum_in_float64(model) == 1

    assert [(value.name, value.dtype) for value in model.graph.outputs] == [("y", ir.DataType.FLOAT)]
    assert [node.op_type for node in model.graph] == ["Cast", "Cast", "MatMul", "Cast"]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
