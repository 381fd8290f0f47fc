"""A variant of a graph refers to the weights that it shares with it, and holds only what is new."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from onnxwright.files import data_file, digest, places
from onnxwright.graph.reading import read_model
from onnxwright.graph.saving import save_model
from onnxwright.graph.sharing import save_variant

TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
lines (float[batch, 32] x) => (float[batch, 32] y) { h = MatMul (x, first)  y = MatMul (h, second) }
"""


def weight(seed):
    return np.random.default_rng(seed).normal(size=(32, 32)).astype(np.float32)


def answer(file):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": weight(9)})[0]


def replaced(model, name, array):
    model.graph.initializers[name].const_value = ir.tensor(array)
    return model


@pytest.fixture
def base(tmp_path):
    """A graph of two weights with its data beside it."""
    model = ir.from_proto(onnx.parser.parse_model(TEXT))
    for place, name in enumerate(("first", "second")):
        value = next(one for node in model.graph for one in node.inputs if one.name == name)
        value.const_value = ir.tensor(weight(place), name=name)
        model.graph.register_initializer(value)
    (tmp_path / "onnx").mkdir()
    save_model(model, tmp_path / "onnx" / "model.onnx", largest=0)
    return tmp_path / "onnx" / "model.onnx"


@pytest.fixture
def variant(base):
    """That graph with its second weight changed."""
    file = base.with_name("model_optimized.onnx")
    save_variant(replaced(read_model(base), "second", weight(5)), file, base)
    return file


def test_only_what_is_new_is_written(base, variant):
    assert places(variant) == {"model.onnx.data", "model_optimized.onnx.data"}
    assert data_file(variant).stat().st_size == weight(5).nbytes
    assert variant.stat().st_size < 2048


def test_the_variant_answers_with_old_and_new_weights(base, variant):
    onnx.checker.check_model(str(variant), full_check=True)
    np.testing.assert_allclose(answer(variant), weight(9) @ weight(0) @ weight(5), rtol=1e-4)
    np.testing.assert_allclose(answer(base), weight(9) @ weight(0) @ weight(1), rtol=1e-4)


def test_it_is_read_as_it_was_written(variant):
    read = read_model(variant).graph.initializers

    assert np.array_equal(read["first"].const_value.numpy(), weight(0))
    assert np.array_equal(read["second"].const_value.numpy(), weight(5))


def test_a_variant_without_new_weights_has_no_data_of_its_own(base):
    file = base.with_name("model_optimized.onnx")

    save_variant(read_model(base), file, base)

    assert places(file) == {"model.onnx.data"}
    assert not data_file(file).exists()
    assert np.array_equal(answer(file), answer(base))


def test_a_folder_that_was_moved_still_loads(variant, tmp_path):
    before = answer(variant)

    variant.parent.rename(tmp_path / "moved")

    assert np.array_equal(answer(tmp_path / "moved" / variant.name), before)


@pytest.mark.parametrize("name", ["model.onnx.data", "model_optimized.onnx.data", "model_optimized.onnx"])
def test_the_digest_changes_with_each_file_that_a_variant_needs(variant, name):
    before = digest(variant)
    content = bytearray(variant.with_name(name).read_bytes())
    content[7] ^= 1

    variant.with_name(name).write_bytes(content)

    assert digest(variant) != before


def test_the_digest_of_the_graph_does_not_change_with_its_variants(base):
    before = digest(base)

    save_variant(replaced(read_model(base), "second", weight(5)), base.with_name("other.onnx"), base)

    assert digest(base) == before


def test_the_model_keeps_its_weights_as_they_were(base):
    model = replaced(read_model(base), "second", weight(5))
    before = {name: value.const_value for name, value in model.graph.initializers.items()}

    save_variant(model, base.with_name("other.onnx"), base)

    assert all(model.graph.initializers[name].const_value is tensor for name, tensor in before.items())


def test_beside_a_graph_in_one_file_a_variant_is_whole(base):
    single = base.with_name("single.onnx")
    save_model(read_model(base), single)
    file = base.with_name("single_optimized.onnx")

    save_variant(replaced(read_model(single), "second", weight(5)), file, single)

    assert places(file) == set()
    np.testing.assert_allclose(answer(file), weight(9) @ weight(0) @ weight(5), rtol=1e-4)


def test_another_folder_is_refused(base, tmp_path):
    with pytest.raises(ValueError, match=r"can't share the weights of .*expected both in one folder"):
        save_variant(read_model(base), tmp_path / "model.onnx", base)
