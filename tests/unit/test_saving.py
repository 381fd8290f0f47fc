"""Graphs are written and read with one weight in memory at a time, in one file or with their weights beside it."""

import os
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx_ir.tensor_adapters import TorchTensor

from onnxwright.files import data_file, outline, places
from onnxwright.graph.reading import read_model, read_structure
from onnxwright.graph.saving import save_model
from onnxwright.graph.validity import invalidities
from onnxwright.graph.versions import convert_opset
from onnxwright.graph.weights import mapped_meanwhile

TEXT = """
<ir_version: 8, opset_import: ["" : 18], producer_name: "someone">
lines (float[batch, 32] x) => (float[batch, 64] y) <int64[2] shape = {-1, 64}> {
    h = MatMul (x, w)
    y = Reshape (h, shape)
}
"""
BRANCH = """
<ir_version: 8, opset_import: ["" : 18]>
branch (float[n] x, bool b) => (float[n] y) {
    y = If (b) <then_branch = t () => (float[n] p) <float[1] v = {3}> { p = Mul (x, v) },
                else_branch = e () => (float[n] q) { c = Constant <value = float[1] {5}> ()  q = Mul (x, c) }>
}
"""
WHOLE = pytest.mark.parametrize("largest", [1 << 30, 0], ids=["in one file", "with data beside it"])


def weight(rows=32, columns=64, name="w", dtype=np.float32):
    values = np.random.default_rng(rows).normal(size=(rows, columns)).astype(dtype)
    return onnx.numpy_helper.from_array(values, name)


def lines(dtype=np.float32):
    model = onnx.parser.parse_model(TEXT)
    model.graph.initializer.append(weight(dtype=dtype))
    return ir.to_proto(ir.from_proto(model))


def answer(file):
    x = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def parts(file):
    """What a file holds: its weights by name, and the rest, without the types of what lies between."""
    model = onnx.load(file)
    weights = {one.name: onnx.numpy_helper.to_array(one).tolist() for one in model.graph.initializer}
    del model.graph.initializer[:]
    del model.graph.value_info[:]
    return weights, model


def on_disk(model, folder, **how):
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "given.onnx", **how)
    return folder / "given.onnx"


@pytest.fixture
def given(tmp_path):
    return on_disk(lines(), tmp_path / "given")


@WHOLE
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.bool_])
def test_what_is_written_is_what_was_read(tmp_path, largest, dtype):
    given, made = on_disk(lines(dtype), tmp_path / "given"), tmp_path / "model.onnx"

    save_model(read_model(given), made, largest=largest)

    assert parts(made) == parts(given)
    assert data_file(made).exists() is (largest == 0)


@WHOLE
def test_what_is_written_is_valid_and_runs(given, tmp_path, largest):
    made = tmp_path / "model.onnx"

    save_model(read_model(given), made, largest=largest)

    onnx.checker.check_model(str(made), full_check=True)
    assert outline(made).weights == outline(given).weights
    assert np.array_equal(answer(made), answer(given))


def test_what_lies_beside_a_graph_has_a_relative_name_and_can_be_moved(given, tmp_path):
    (tmp_path / "one").mkdir()
    save_model(read_model(given), tmp_path / "one" / "model.onnx", largest=0)

    (tmp_path / "one").rename(tmp_path / "other")

    assert places(tmp_path / "other" / "model.onnx") == {"model.onnx.data"}
    assert np.array_equal(answer(tmp_path / "other" / "model.onnx"), answer(given))


@WHOLE
def test_weights_of_every_kind_are_written(tmp_path, largest):
    values = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    tensors = {
        "plain": ir.tensor(values),
        "turned": ir.tensor(values.T),
        "torch": TorchTensor(torch.from_numpy(values).t()),
        "lazy": ir.LazyTensor(lambda: ir.tensor(values), dtype=ir.DataType.FLOAT, shape=ir.Shape(values.shape)),
        "narrow": TorchTensor(torch.from_numpy(values).bfloat16()),
    }
    initializers = [ir.Value(name=name, const_value=tensor) for name, tensor in tensors.items()]
    graph = ir.Graph([], [], nodes=[], initializers=initializers, opset_imports={"": 18}, name="g")

    save_model(ir.Model(graph, ir_version=8), tmp_path / "model.onnx", largest=largest)

    read = read_model(tmp_path / "model.onnx").graph.initializers
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        assert read[name].const_value.dtype == tensor.dtype
        assert read[name].const_value.tobytes() == tensor.tobytes(), name


def test_a_weight_stays_in_its_file_until_it_is_used(given, tmp_path):
    save_model(read_model(given), tmp_path / "beside.onnx", largest=0)

    for file in (given, tmp_path / "beside.onnx"):
        found = read_model(file).graph.initializers["w"].const_value
        assert isinstance(found, ir.ExternalTensor)
        assert found.raw is None
        assert np.array_equal(found.numpy(), onnx.numpy_helper.to_array(weight()))


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_file_may_be_linked(given, tmp_path, link):
    (tmp_path / "elsewhere").mkdir()
    linked = tmp_path / "elsewhere" / "linked.onnx"
    link(given, linked)

    save_model(read_model(linked), tmp_path / "model.onnx")

    assert parts(tmp_path / "model.onnx") == parts(given)


@WHOLE
def test_what_lies_outside_of_a_branch_is_loaded_into_it(tmp_path, largest):
    how = {"save_as_external_data": True, "size_threshold": 0, "convert_attribute": True, "location": "given.onnx.data"}
    given = on_disk(onnx.parser.parse_model(BRANCH), tmp_path / "given", **how)
    x = np.arange(3, dtype=np.float32)

    save_model(read_model(given), tmp_path / "model.onnx", largest=largest)

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for flag, factor in ((True, 3), (False, 5)):
        assert np.array_equal(session.run(["y"], {"x": x, "b": np.array(flag)})[0], x * factor)


@pytest.mark.parametrize("content", [b"", b"abc", b"\x3a\xff\xff\x01"])
def test_other_bytes_are_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)

    with pytest.raises(ValueError, match=r"empty|middle|longer|wire type"):
        read_model(tmp_path / "model.onnx")


@WHOLE
def test_a_graph_is_checked_without_its_weights(given, tmp_path, largest):
    save_model(read_model(given), tmp_path / "model.onnx", largest=largest)

    assert [value.name for value in read_structure(tmp_path / "model.onnx").graph.input] == ["x", "w"]
    assert invalidities(tmp_path / "model.onnx") == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda graph: graph.initializer.append(weight(31)), "Incompatible dimensions"),
        (lambda graph: graph.node.pop(0), "not output of any previous nodes"),
    ],
)
def test_what_is_wrong_is_still_found(tmp_path, change, words):
    model = onnx.parser.parse_model(TEXT)
    model.graph.initializer.append(weight()) if "previous" in words else None
    change(model.graph)

    (found,) = invalidities(on_disk(model, tmp_path / "given"))

    assert found.code == "invalid-graph"
    assert words in found.message


_MEASURED = """
import resource, sys
from pathlib import Path
import onnx_ir as ir, numpy as np
from onnxwright.graph.reading import read_model
from onnxwright.graph.saving import save_model
from onnxwright.graph.weights import mapped_meanwhile
from onnxwright.graph.validity import invalidities
from onnxwright.graph.versions import convert_opset

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder, largest = Path(sys.argv[1]), int(sys.argv[2])
save_model(read_model(folder / "given.onnx"), folder / "warm.onnx", largest=largest)
before = peak()
model = read_model(folder / "large.onnx")
save_model(model, folder / "model.onnx", largest=largest)
assert invalidities(folder / "model.onnx") == ()
print(peak() - before)
"""


@WHOLE
def test_memory_does_not_grow_with_the_weights(given, largest):
    model = lines()
    model.graph.initializer.extend(weight(2000, 2000, f"large_{number}") for number in range(8))
    onnx.save(model, given.with_name("large.onnx"))
    weights = given.with_name("large.onnx").stat().st_size // 1024

    command = [sys.executable, "-c", _MEASURED, str(given.parent), str(largest)]
    taken = subprocess.run(command, capture_output=True, text=True, check=True)

    assert int(taken.stdout) < weights / 4


@WHOLE
@pytest.mark.parametrize("opset", [17, 20])
def test_a_graph_is_converted_to_another_opset_around_its_weights(given, tmp_path, largest, opset):
    save_model(read_model(given), tmp_path / "read.onnx", largest=largest)
    model = read_model(tmp_path / "read.onnx")

    assert convert_opset(model, opset) == 2
    save_model(model, tmp_path / "model.onnx")

    assert isinstance(model.graph.initializers["w"].const_value, ir.ExternalTensor)
    assert model.opset_imports[""] == opset
    assert np.array_equal(answer(tmp_path / "model.onnx"), answer(given))


@WHOLE
def test_weights_are_let_go_of_once_they_are_written(largest, tmp_path):
    given = tmp_path / "given.onnx"
    onnx.save(lines(), given)
    model = read_model(given)
    tensor = model.graph.initializers["w"].const_value

    save_model(model, tmp_path / "made.onnx", largest=largest)

    assert tensor.raw is None
    np.testing.assert_array_equal(answer(tmp_path / "made.onnx"), answer(given))


def test_a_weight_that_something_looks_at_stays(tmp_path):
    given = tmp_path / "given.onnx"
    onnx.save(lines(), given)
    model = read_model(given)
    tensor = model.graph.initializers["w"].const_value
    with mapped_meanwhile(model):
        seen = tensor.numpy()

    np.testing.assert_array_equal(seen, onnx.numpy_helper.to_array(weight()))
    np.testing.assert_array_equal(tensor.numpy(), seen)


def test_a_weight_that_was_mapped_before_is_not_let_go_of(tmp_path):
    given = tmp_path / "given.onnx"
    onnx.save(lines(), given)
    model = read_model(given)
    tensor = model.graph.initializers["w"].const_value
    tensor.numpy()

    save_model(model, tmp_path / "made.onnx")

    assert tensor.raw is not None
