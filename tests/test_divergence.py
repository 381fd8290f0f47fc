"""When outputs disagree, the first place that does is named: submodule, line of Python, node."""

from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from torch import nn

from onnxwright.divergence import Case, first_divergence
from onnxwright.stages.export import export
from onnxwright.stages.load import load

HERE = Path(__file__)
DIMS = {"x": {0: "batch", 1: "sequence"}}
SIZES = {"batch": 2, "sequence": 5}


class Layer(nn.Module):
    """Attention without much, and a step of its own in `forward`."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(8, 8)
        self.key = nn.Linear(8, 8)
        self.value = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        query = self.query(x)  # query
        weights = torch.softmax(query @ self.key(x).transpose(1, 2) / 3.0, -1)  # weights
        mixed = weights @ self.value(x)  # mixed
        return self.norm(x + mixed * 0.7)  # norm


class Encoder(nn.Module):
    """Six layers and a head."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(6))
        self.head = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


class Branch(nn.Module):
    """Takes another way from eight on."""

    def forward(self, x):
        y = torch.tanh(x)
        if x.shape[1] >= 8:
            y = y * 2.0  # long
        return y + 1.0  # after


class Choice(nn.Module):
    """Answers on one of two lines."""

    def forward(self, x):
        if x.shape[1] >= 8:
            return x * 2.0  # long choice
        return x + 1.0  # short choice


class Baked(nn.Module):
    """Divides by a length that an exporter keeps."""

    def forward(self, x):
        total = torch.tanh(x).sum(1)
        return total / int(x.shape[1])  # divided


class Table(nn.Module):
    """Makes positions for a length that an exporter keeps."""

    def forward(self, x):
        positions = torch.arange(int(x.shape[1]))  # positions
        return x + positions  # added


def line_of(text):
    lines = HERE.read_text(encoding="utf-8").splitlines()
    return f"{HERE.name}:{next(place for place, line in enumerate(lines, start=1) if line.endswith(f'# {text}'))}"


def made(module, width=None, seed=1):
    torch.manual_seed(seed)
    shape = (2, 6) if width is None else (2, 6, width)
    return load(module, example_inputs={"x": torch.randn(shape)}, dims=DIMS)


def case_of(source, model, folder, sizes=SIZES, **changes):
    ir.save(model, folder / "model.onnx")
    given = {"module": source.module, "signature": source.signature, "file": folder / "model.onnx", "sizes": sizes}
    return Case(**{**given, "feeds": source.sampler.draw(sizes), **changes})


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return made(Encoder(), 8)


@pytest.fixture(scope="module", params=["trace", "dynamo"])
def graph(encoder, request, tmp_path_factory):
    file = tmp_path_factory.mktemp("encoder") / "model.onnx"
    ir.save(export(encoder, route_name=request.param).model, file)
    return file


def flipped(model, module, operator):
    """Flips the sign of one element of what a node reads as a constant."""
    node = next(
        node
        for node in model.graph
        if node.metadata_props.get("onnxwright.module") == module and node.op_type == operator
    )
    place, weight = next((place, value) for place, value in enumerate(node.inputs) if value.is_initializer())
    array = weight.const_value.numpy().copy()
    array.flat[5] *= -1
    wrong = ir.Value(name="wrong", const_value=ir.tensor(array, name="wrong"))
    model.graph.initializers["wrong"] = wrong
    node.replace_input_with(place, wrong)
    return node.name


@pytest.mark.parametrize("layer", [0, 3, 5])
def test_one_flipped_sign_in_a_layer_is_found(encoder, graph, tmp_path, layer):
    model = ir.load(graph)
    flipped(model, f"layers.{layer}.value", "MatMul")

    found = first_divergence(case_of(encoder, model, tmp_path))

    assert found.module == f"layers.{layer}.value"
    assert Path(found.where).name == line_of("mixed")
    assert found.sizes == SIZES
    assert found.operator in {"MatMul", "Add"}
    assert found.node in {node.name for node in model.graph}
    assert found.error > 1e-3
    assert f"in 'layers.{layer}.value'" in found.message


def test_the_error_grows_from_rounding_to_the_divergence(encoder, graph, tmp_path):
    model = ir.load(graph)
    flipped(model, "layers.3.value", "MatMul")

    found = first_divergence(case_of(encoder, model, tmp_path))

    at = next(place for place, drift in enumerate(found.growth) if drift.error == found.error)
    assert at >= 3
    assert all(drift.error < 1e-5 for drift in found.growth[:at])
    assert len(found.growth) > at + 1


def test_a_right_graph_gives_none(encoder, graph, tmp_path):
    assert first_divergence(case_of(encoder, ir.load(graph), tmp_path)) is None
