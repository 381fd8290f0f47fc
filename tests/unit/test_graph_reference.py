"""A graph that is the reference knows its own noise: what it answers where numbers are added in float64."""

import errno
import weakref
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxwright import given as given_module
from onnxwright import reference as reference_module
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


@pytest.fixture
def holding(tmp_path):
    """A graph with a weight in it, and what it is to be fed."""
    draw = np.random.default_rng(0)
    model = onnx.parser.parse_model(ADDING)
    del model.graph.input[1]
    model.graph.initializer.append(onnx.numpy_helper.from_array(draw.normal(size=(WIDE, 4)).astype(np.float32), "w"))
    onnx.save(model, tmp_path / "holding.onnx")
    return tmp_path / "holding.onnx", {"x": draw.normal(size=(3, WIDE)).astype(np.float32)}


def referring_to(file):
    return reference_of(load(file, ranges={"batch": (1, 2, 4)}), threads=1)


def with_many_weights(monkeypatch):
    for module in (given_module, reference_module):
        monkeypatch.setattr(module, "FEW_BYTES", -1)


def mapped():
    """The files that lie in this process's memory."""
    return {line.split(maxsplit=5)[5].removesuffix(" (deleted)").strip() for line in maps() if line.count("/")}


def maps():
    return Path("/proc/self/maps").read_text().splitlines()


def test_a_graph_of_many_weights_is_in_memory_once_and_knows_its_noise(holding, monkeypatch):
    file, feeds = holding
    kept = referring_to(file)
    expected = kept.noise(feeds, kept.session.run(feeds))
    del kept
    alive = weakref.WeakSet()
    made = GivenSession.__init__

    def noted(self, *given, **options):
        made(self, *given, **options)
        alive.add(self)

    monkeypatch.setattr(GivenSession, "__init__", noted)
    with_many_weights(monkeypatch)
    found = referring_to(file)

    assert len(alive) == 1
    # Weights that are not arranged anew are added up in another order.
    assert expected["y"] / 8 < found.noise(feeds, found.session.run(feeds))["y"] < 8 * expected["y"]
    assert len(alive) == 1
    place = found.twin.graph.parent
    assert {one.name for one in place.iterdir()} == {"holding.onnx", "holding.onnx.data", "precise.onnx"}
    del found
    assert not place.exists()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system doesn't tell what is mapped")
def test_weights_of_a_graph_of_many_are_mapped_and_not_copied(holding, monkeypatch):
    file, feeds = holding
    kept = GivenSession(file, threads=1)
    assert not any(name.endswith("holding.onnx.data") for name in mapped())
    with_many_weights(monkeypatch)

    found = GivenSession(file, threads=1)

    assert any(name.endswith("holding.onnx.data") for name in mapped())
    np.testing.assert_allclose(found.run(feeds)["y"], kept.run(feeds)["y"], rtol=1e-3, atol=1e-3)
    assert found.ran == kept.ran


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system doesn't tell what is mapped")
def test_a_reference_that_rests_holds_nothing_and_answers_as_before(holding, monkeypatch):
    file, feeds = holding
    with_many_weights(monkeypatch)
    found = referring_to(file)
    expected = found.session.run(feeds)["y"]

    found.rest()

    assert not any(name.endswith("holding.onnx.data") for name in mapped())
    np.testing.assert_array_equal(found.session.run(feeds)["y"], expected)
    assert any(name.endswith("holding.onnx.data") for name in mapped())


def test_weights_that_lie_beside_a_graph_are_found_from_the_shelf(holding, monkeypatch, tmp_path):
    file, feeds = holding
    expected = GivenSession(file, threads=1).run(feeds)["y"]
    model = onnx.load(file)
    place = tmp_path / "beside.onnx"
    (tmp_path / "weights").mkdir()
    onnx.save(model, place, save_as_external_data=True, location="weights/own.bin", size_threshold=0)
    with_many_weights(monkeypatch)

    found = referring_to(place)

    np.testing.assert_allclose(found.session.run(feeds)["y"], expected, rtol=1e-3, atol=1e-3)
    assert "adding in float64" in found.origin


def test_without_room_for_copies_the_graph_is_loaded_from_where_it_lies(holding, monkeypatch):
    file, feeds = holding
    expected = GivenSession(file, threads=1).run(feeds)["y"]
    with_many_weights(monkeypatch)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("reading.write_apart", "saving.save_model"):
        monkeypatch.setattr(f"onnxwright.graph.{name}", full)
    found = referring_to(file)

    np.testing.assert_allclose(found.session.run(feeds)["y"], expected, rtol=1e-3, atol=1e-3)
    assert "no twin that adds in float64" in found.origin
    assert 0 <= found.noise(feeds, found.session.run(feeds))["y"] < 1e-4


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
