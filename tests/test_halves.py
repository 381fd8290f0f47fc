"""Modules and graphs that compute in float16 are proven by what they round themselves, and rewritten like others."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from cases.graphs import answers, draw, kinds, model
from torch import nn
from torch.nn import functional

import onnxwright as ow
from onnxwright.errors import ProofError
from onnxwright.graph.precision.floats import lowered
from onnxwright.graph.saving import save_model
from onnxwright.graph.widening import without_halves

WIDTH = 16
PROFILE = {"batch": (1, 2, 4), "sequence": (1, 8, 16)}
ASKED = {"proof": "quick", "engine": "onnxruntime", "measure": False, "profile": PROFILE}


class Layer(nn.Module):
    """A layer in float16, as `.half()` makes it."""

    def __init__(self, activation=functional.gelu):
        super().__init__()
        torch.manual_seed(0)
        self.wide, self.narrow, self.norm = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH), nn.LayerNorm(WIDTH)
        self.activation = activation
        self.half().eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x + self.narrow(self.activation(self.wide(x))))


X = torch.randn(2, 8, WIDTH, generator=torch.Generator().manual_seed(1)).half()
GIVEN = {"example_inputs": {"x": X}, "dims": {"x": {0: "batch", 1: "sequence"}}}


def test_a_module_in_float16_is_proven_and_answers_in_it(tmp_path):
    package = ow.convert(Layer(), tmp_path / "out", **GIVEN, **ASKED)

    (answered,) = package.session().run({"x": X.numpy()}).values()
    assert package.proof.verdict == "proven"
    assert answered.dtype == np.float16
    np.testing.assert_allclose(answered, Layer()(X).detach().numpy(), rtol=2e-2, atol=2e-2)
    assert all(2**-12 < floor < 2**-6 for floor in package.proof.tolerance.floors.values())


@pytest.mark.parametrize("other", [functional.silu, lambda x: functional.gelu(x) * 1.1])
def test_what_computes_something_else_in_float16_is_refused(other, tmp_path):
    ow.convert(Layer(other), tmp_path / "other", route="trace", **GIVEN, **ASKED)

    proof = ow.prove(
        Layer(),
        tmp_path / "other" / "onnx" / "model.onnx",
        **GIVEN,
        profile=PROFILE,
        engine="onnxruntime",
        proof="quick",
    )["onnxruntime"]

    assert proof.verdict == "failed"
    assert "is off by" in " ".join(found.message for found in proof.findings)


GRAPH = """g (float[batch, sequence, 8] x) => (float[batch, sequence, 8] y) <float half = {0.5}, float one = {1.0},
    float root = {1.41421356}> { h = MatMul (x, w) d = Div (h, root) e = Erf (d) a = Add (e, one) m = Mul (h, a)
    y = Mul (m, half) }"""


@pytest.fixture
def foreign(tmp_path):
    """A graph in float16, but for its inputs and outputs."""
    whole = model(GRAPH.replace("{0.5}", "{0.5}, float[8, 8] w = {" + ", ".join(_numbers()) + "}"))
    file = tmp_path / "foreign.onnx"
    save_model(lowered(whole, "float16", None).model, file)
    return file


def _numbers():
    return (f"{number:.4f}" for number in np.random.default_rng(0).standard_normal(64))


def test_a_foreign_graph_in_float16_is_rewritten(foreign, tmp_path, monkeypatch):
    monkeypatch.setattr("onnxwright.graph.optimizing._SIMPLE", ("gelu", "chains"))

    package = ow.optimize(foreign, tmp_path / "out", **ASKED)

    made = package.manifest.variants["optimized"]
    assert made.proof.verdict == "proven"
    assert "Gelu" in [node.op_type for node in onnx.load(package.file("optimized")).graph.node]
    assert 0 < made.proof.tolerance.floors["y"] < 2**-6


def test_another_graph_in_float16_is_refused(foreign, tmp_path):
    other = model(GRAPH.replace("{0.5}", "{0.55}, float[8, 8] w = {" + ", ".join(_numbers()) + "}"))
    save_model(lowered(other, "float16", None).model, tmp_path / "other.onnx")

    proof = ow.prove(foreign, tmp_path / "other.onnx", profile=PROFILE, engine="onnxruntime", proof="quick")[
        "onnxruntime"
    ]

    assert proof.verdict == "failed"


def test_a_graph_in_float16_is_widened_whole():
    text = """g (float16[n, 4] x, bool c, float16[4] w) => (float16[n, 4] y) {
        k = Constant <value = float {0.5}> () f = Cast <to = 1> (x) h = Cast <to = 10> (f) a = Mul (h, k)
        y = If (c) <then_branch = t () => (float16[n, 4] p) { p = Add (a, w) },
                    else_branch = e () => (float16[n, 4] q) { q = Sub (a, w) }> }"""
    before = model(text, weights={"w"})
    before.graph.initializers["w"].const_value = ir.tensor(np.array([1.5, -2, 0.25, 3], np.float16), name="w")
    constant = next(node for node in before.graph if node.op_type == "Constant")
    constant.attributes["value"] = ir.AttrTensor("value", ir.tensor(np.array(0.5, np.float16)))
    feeds = {"x": np.arange(8, dtype=np.float16).reshape(2, 4), "c": np.array(True)}
    expected = answers(before, feeds)["y"]

    assert without_halves(before)

    (answered,) = answers(before, feeds).values()
    assert answered.dtype == np.float32
    np.testing.assert_array_equal(answered, expected.astype(np.float32))
    assert {ir.DataType.FLOAT16} == {value.dtype for value in before.graph.inputs if value.name == "x"}
    assert {value.dtype for node in before.graph.all_nodes() for value in node.outputs} <= {ir.DataType.FLOAT, None}


def test_functions_are_widened_too():
    text = """<ir_version: 8, opset_import: ["" : 18, "own" : 1]>
        g (float16[n] x) => (float16[n] y) { y = own.twice (x) }
        <opset_import: ["" : 18], domain: "own">
        twice (a) => (b) { f = Cast <to = 1> (a) h = Cast <to = 10> (f) b = Add (h, h) }"""
    before = ir.from_proto(onnx.parser.parse_model(text))
    feeds = {"x": np.array([1.5, -2, 0.1], np.float16)}
    expected = answers(before, feeds)["y"]

    assert without_halves(before)

    np.testing.assert_array_equal(answers(before, feeds)["y"], expected.astype(np.float32))


def test_a_graph_in_float32_stays_as_it_is():
    before = model("g (float[n, 4] x) => (float[n, 4] y) { a = Mul (x, x) y = Cast <to = 1> (a) }")

    assert not without_halves(before)
    assert kinds(before) == ["Mul", "Cast"]
    assert answers(before, draw(before))["y"].dtype == np.float32


def test_noise_that_would_hide_whatever_is_wrong_is_no_excuse(tmp_path):
    class Noisy(nn.Module):
        def forward(self, x):
            return (x * 1024 + 0.001 - x * 1024) / 0.001

    with pytest.raises(ProofError, match=r"lies .* from its own noise reference"):
        ow.convert(Noisy(), tmp_path / "out", **GIVEN, **ASKED, route="trace", repair_seconds=1)
