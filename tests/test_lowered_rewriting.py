"""What is kept in a lower precision is rewritten for its engine, and judged once more."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from cases.graphs import turned_round
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

import onnxwright as ow
from onnxwright.cli import app
from onnxwright.graph import optimizing
from onnxwright.graph.rules import Rule, rules
from onnxwright.manifest import Latency
from onnxwright.stages import variants
from onnxwright.stages.inspect import inspect
from onnxwright.stages.trials import CONTROL, Trials

WIDTH, HEADS = 32, 4
PROFILE = {"batch": (1, 2, 4), "sequence": (1, 8, 16)}
ASKED = {"proof": "quick", "engine": "onnxruntime", "profile": PROFILE, "optimize": True}


class Block(nn.Module):
    """A layer of an encoder."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inward, self.outward = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.inward(x).unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        hidden = self.first(x + self.outward(attended))
        return self.second(hidden + self.narrow(functional.gelu(self.wide(hidden))))


@pytest.fixture
def measured(monkeypatch):
    """Has fewer nodes be faster, so that it doesn't hang on the machine what is kept."""

    def latency(speedup):
        return Latency({"batch": 1}, 9, 1.0, 1.0, 1.0, speedup, (speedup, speedup))

    def measure(_, candidates):
        return [replace(one, latencies=(latency(1 + 1 / one.nodes),), control=(latency(1.0),)) for one in candidates]

    def compare(_, sessions, __):
        return {**{name: (latency(1.5),) for name in sessions}, CONTROL: (latency(1.0),)}

    monkeypatch.setattr("onnxwright.stages.trials._LEAST_GAIN", 1.0)
    monkeypatch.setattr(Trials, "measured", measure)
    monkeypatch.setattr(Trials, "latencies", compare)
    monkeypatch.setattr(variants, "_TIMED_SECONDS", 0.1)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The graph of a layer."""
    file, axes = tmp_path_factory.mktemp("graph") / "model.onnx", {0: "batch", 1: "sequence"}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": axes, "y": axes}}
    torch.onnx.export(Block().eval(), (torch.randn(2, 8, WIDTH),), file, dynamo=False, opset_version=18, **names)
    return file


def quantized(graph, folder, **options):
    return ow.quantize(graph, folder, **{**ASKED, "max_accuracy_loss": 0.05, **options})


def operators(package, variant):
    return [node.op_type for node in onnx.load(package.file(variant)).graph.node]


@pytest.mark.parametrize(
    ("precision", "product"),
    [pytest.param("int8-dynamic", "MatMulInteger", marks=pytest.mark.thorough), ("fp16", "MatMul")],
)
def test_what_is_lowered_is_fused(precision, product, graph, measured, tmp_path):
    package = quantized(graph, tmp_path / "out", precision=precision)

    record = package.manifest.quantizations["onnxruntime"]
    variant = record.variant
    made = package.manifest.variants[variant]
    kept = next(one for one in record.candidates if one.outcome == "kept")
    assert record.rewriting.plans[0].outcome == "kept"
    assert {*operators(package, variant)} >= {product, "MultiHeadAttention", "SkipLayerNormalization"}
    assert made.proof.verdict == "proven"
    assert made.accuracy == kept.judged
    assert kept.judged.loss <= 0.05
    x = np.random.default_rng(3).standard_normal((3, 11, WIDTH)).astype(np.float32)
    expected = Block().eval()(torch.from_numpy(x)).detach().numpy()
    (answered,) = package.session(variant=variant).run({"x": x}).values()
    assert np.abs(answered - expected).max() < 0.2
    assert re.search(
        r"rewritten +onnxruntime +'.*attention.*' is kept, \d+ nodes became \d+", inspect(tmp_path / "out").text
    )


def test_a_rewrite_that_is_wrong_in_a_lower_precision_is_rolled_back(graph, measured, tmp_path, monkeypatch):
    wrong = Rule("wrong", "simplify", "Makes differences of sums.", change=turned_round)
    monkeypatch.setattr(optimizing, "_PARTS", {**optimizing._PARTS, "norms": (wrong.name,)})
    monkeypatch.setattr(optimizing, "_PLANS", (("norms", "attention"),))
    monkeypatch.setattr(optimizing, "borrowed", dict)
    monkeypatch.setattr(optimizing, "rules", lambda: {**rules(), wrong.name: wrong})

    package = quantized(graph, tmp_path / "out", precision="int8-dynamic")

    record = package.manifest.quantizations["onnxruntime"].rewriting
    assert (record.plans[0].outcome, record.plans[0].rolled_back) == ("kept", ("wrong",))
    assert any("may be lost" in one.message for one in record.plans if one.outcome == "not shown right")


def test_it_is_done_only_where_it_is_asked_for(graph, tmp_path):
    package = quantized(graph, tmp_path / "out", precision="int8-dynamic", optimize=False, measure=False)

    assert package.manifest.quantizations["onnxruntime"].rewriting is None
    assert "MultiHeadAttention" not in operators(package, "int8")


def test_what_is_not_measured_is_only_made_simpler(graph, tmp_path):
    package = quantized(graph, tmp_path / "out", precision="int8-dynamic", measure=False)

    record = package.manifest.quantizations["onnxruntime"].rewriting
    assert not record.is_measured
    assert {one.plan for one in record.plans} <= {"simplified"}
    assert "MultiHeadAttention" not in operators(package, "int8")


def test_the_command_line_has_it(graph, tmp_path):
    words = ["quantize", str(graph), "-o", str(tmp_path / "out"), "--precision", "int8-dynamic", "--optimize"]
    options = ["--max-accuracy-loss", "0.05", "--no-measure", "--engine", "onnxruntime", "--proof", "quick"]

    done = CliRunner().invoke(app, [*words, *options, "--batch", "1", "2", "4", "--sequence", "1", "8", "16"])

    assert done.exit_code == 0, done.output
    assert ow.Package.open(tmp_path / "out").manifest.quantizations["onnxruntime"].rewriting is not None
