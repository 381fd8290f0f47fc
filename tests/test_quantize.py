"""The precision is lowered within a budget: what is kept was judged on samples that it wasn't made with, and proven."""

import contextlib
import functools
import importlib.util
import itertools
import json
import math
import re
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest
import torch
import transformers
from cases.counting import Counting
from msgspec.structs import replace as changed
from onnx.reference import ReferenceEvaluator
from torch import nn
from typer.testing import CliRunner

import onnxwright as ow
from onnxwright import environment
from onnxwright import manifest as manifests
from onnxwright.artifact import write_manifest
from onnxwright.cli import app
from onnxwright.errors import ProofError, SourceError, UsageError
from onnxwright.files import digest
from onnxwright.manifest import Accuracy, Failure, Latency
from onnxwright.recipes import recipes
from onnxwright.reports.lowering import frontier
from onnxwright.stages import quantize as quantizing
from onnxwright.stages import variants
from onnxwright.stages.inspect import inspect
from onnxwright.stages.lowering import anew as remaking
from onnxwright.stages.lowering import candidates, mixing
from onnxwright.stages.lowering.scoring import Scoring
from onnxwright.stages.lowering.tried import Tried, foremost

WIDTH = 32
QUICK = {"measure": False, "proof": "quick", "engine": "onnxruntime", "profile": {"batch": (1, 4, 8)}}


class Layered(nn.Module):
    """Some products, of which one may be told to be hostile: one of its channels is far larger than all others."""

    def __init__(self, *, hostile: int | None = None, layers: int = 3):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers))
        self.hostile = hostile

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, layer in enumerate(self.layers):
            if number == self.hostile:
                # Each element of the activation counts, and one is so large that a scale for all leaves it no step.
                x = layer(torch.cat([x[:, :-1], x[:, -1:] * 3e4], dim=-1)) - 3e4 * x[:, -1:] * layer.weight[:, -1]
            else:
                x = torch.tanh(layer(x))
        return x


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """Writes the graph of a module, once for each hostile product."""

    @functools.cache
    def write(hostile=None):
        file = tmp_path_factory.mktemp("graphs") / "model.onnx"
        module, x = Layered(hostile=hostile).eval(), torch.ones(4, WIDTH)
        names = {"input_names": ["x"], "output_names": ["output"], "dynamic_axes": {"x": {0: "batch"}}}
        torch.onnx.export(module, (x,), file, dynamo=False, opset_version=18, **names)
        return file

    return write


@pytest.fixture(scope="module")
def text_package(tmp_path_factory, minilm):
    """A package of a tiny BERT with random weights and a real tokenizer."""
    folder = tmp_path_factory.mktemp("text")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    transformers.BertModel(transformers.BertConfig(**small)).save_pretrained(folder / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(minilm / name, folder / "model")
    profile = {"batch": (1, 2, 4), "sequence": (1, 8, 16)}
    ow.convert(folder / "model", folder / "package", task="embedding", **{**QUICK, "profile": profile})
    return folder / "package"


def quantized(source, place, **options):
    if isinstance(source, nn.Module):
        x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(1))
        source.eval()
        options = {"example_inputs": {"x": x}, "dims": {"x": {0: "batch"}}, **options}
    return ow.quantize(source, place, **{**QUICK, **options})


def kept_one(package, engine="onnxruntime"):
    record = package.manifest.quantizations[engine]
    return record, next(one for one in record.candidates if one.outcome == "kept")


def operators(file):
    return [node.op_type for node in onnx.load(file).graph.node]


class Choosing(nn.Module):
    """Answers with the place of the largest number, too, and with the number of each row."""

    def __init__(self):
        super().__init__()
        self.layered = Layered()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        scores = self.layered(x)
        return scores, scores.argmax(-1), torch.arange(x.shape[0])


def test_a_choice_may_turn_out_otherwise_as_often_as_the_budget_says(tmp_path):
    package = quantized(Choosing(), tmp_path / "out", precision="int8-static", max_accuracy_loss=0.5)

    proof = package.manifest.variants["int8"].proof
    assert proof.verdict == "proven"
    assert list(proof.tolerance.classes.values()) == ["lower-precision", "lower-precision", "exact"]
    (again,) = ow.prove(tmp_path / "out").values()
    assert again.verdict == "proven", again.findings


class First(nn.Module):
    """Answers for the first of several places."""

    def __init__(self):
        super().__init__()
        self.layered = Layered()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layered(x)[:, 0]


def test_products_are_taken_of_a_graph_that_computes_no_more_than_it_needs(tmp_path):
    x = torch.randn(4, 3, WIDTH, generator=torch.Generator().manual_seed(1))
    given = {"example_inputs": {"x": x}, "dims": {"x": {0: "batch", 1: "places"}}}
    profile = {**QUICK["profile"], "places": (1, 3, 8)}

    package = quantized(
        First(), tmp_path / "out", precision="int8-dynamic", max_accuracy_loss=0.05, **{**given, "profile": profile}
    )

    before, after = (operators(package.file(name)) for name in ("fp32", "int8"))
    assert before.index("Gather") > before.index("MatMul")
    assert after.index("Gather") < after.index("MatMulInteger")


@pytest.mark.parametrize(
    "recipe", ["int8-static", "int8-asymmetric", "int8-per-tensor", "int8-dynamic", "int8-min-max"]
)
def test_products_become_int8_within_the_budget(graph, recipe, tmp_path):
    package = quantized(graph(), tmp_path / "out", precision=recipe, max_accuracy_loss=0.05)

    record, kept = kept_one(package)
    variant = package.manifest.variants["int8"]
    assert record.variant == "int8"
    assert 0 < kept.judged.loss <= 0.05
    assert variant.accuracy == kept.judged
    assert variant.proof.verdict == "proven"
    assert variant.proof.tolerance.name == "lower-precision"
    assert not kept.kept
    kinds = operators(package.file("int8"))
    assert kinds.count("MatMulInteger" if recipe == "int8-dynamic" else "QuantizeLinear") == 3
    assert package.manifest.default.variant == "int8"


def test_what_a_budget_does_not_allow_is_refused_with_all_that_was_tried(graph, tmp_path):
    with pytest.raises(ProofError, match="nothing of it stays within a loss of 1e-09") as refusal:
        quantized(graph(), tmp_path / "out", precision="int8", max_accuracy_loss=1e-9)

    assert "int8-static: over budget" in str(refusal.value)
    assert "int8-dynamic: over budget" in str(refusal.value)
    assert "as fast as exported" not in str(refusal.value)  # nothing was measured
    assert not (tmp_path / "out").exists()


def test_what_a_budget_does_not_allow_is_measured_to_show_what_more_would_buy(graph, tmp_path):
    with pytest.raises(ProofError) as refusal:
        quantized(graph(), tmp_path / "out", precision="int8", max_accuracy_loss=1e-9, measure=True)

    lines = [line for line in str(refusal.value).splitlines() if "over budget" in line]
    assert len(lines) > 1
    assert all(re.search(r"it loses .* It is \d+\.\d\d× as fast as exported\.", line) for line in lines)


def test_a_budget_that_only_float32_stays_within_shows_the_frontier(graph, tmp_path):
    package = quantized(graph(), tmp_path / "out", max_accuracy_loss=1e-9, measure=True)

    record = package.manifest.quantizations["onnxruntime"]
    assert record.variant is None
    assert "as fast as exported" in record.told
    assert {one.outcome for one in frontier(record)} == {"over budget"}


def judging(monkeypatch, factor):
    """Has the samples that judge tell of so many times the loss of those that calibrate."""

    def judge(self, session):
        found, _ = self.calibrate(session)
        return changed(found, loss=factor * found.loss)

    monkeypatch.setattr(Scoring, "judge", judge)


def test_what_loses_too_much_on_what_judges_is_made_anew_with_more_in_float32(graph, tmp_path, monkeypatch):
    first = quantized(graph(), tmp_path / "first", precision="int8-static", max_accuracy_loss=1.0)
    lost = first.manifest.quantizations["onnxruntime"].candidates[0].judged.amount
    judging(monkeypatch, 1.4)

    package = quantized(graph(), tmp_path / "again", precision="int8-static", max_accuracy_loss=1.1 * lost)

    found = package.manifest.quantizations["onnxruntime"].candidates[0]
    assert found.outcome == "kept"
    assert 0 < len(found.kept) < 3
    assert found.judged.amount <= 1.1 * lost


def test_what_loses_far_too_much_on_what_judges_is_not_made_anew(graph, tmp_path, monkeypatch):
    first = quantized(graph(), tmp_path / "first", precision="int8-static", max_accuracy_loss=1.0)
    lost = first.manifest.quantizations["onnxruntime"].candidates[0].judged.amount
    judging(monkeypatch, 4.0)

    with pytest.raises(ProofError, match="on the samples that judge it"):
        quantized(graph(), tmp_path / "again", precision="int8-static", max_accuracy_loss=1.1 * lost)


def test_however_many_lose_too_much_on_what_judges_another_one_is_kept(graph, tmp_path, monkeypatch):
    judge, refused = quantizing.judged, []

    def judged(search, one, session):
        if len(refused) < 2:
            refused.append(one.name)
            return replace(one, came="over budget", message="it loses too much.", judged=one.calibrated)
        return judge(search, one, session)

    monkeypatch.setattr(quantizing, "judged", judged)
    monkeypatch.setattr(quantizing, "_LEAST_PROOFS", 1)
    package = quantized(graph(), tmp_path / "out", precision="int8", max_accuracy_loss=1.0)

    record = package.manifest.quantizations["onnxruntime"]
    assert len(refused) == 2
    assert next(one.name for one in record.candidates if one.outcome == "kept") not in refused


def test_what_is_not_shown_right_for_lack_of_time_is_not_made_anew(tmp_path, monkeypatch):
    prove, tried = quantizing.held, []

    def proven(search, one, session):
        tried.append(one.anew)
        return changed(prove(search, one, session), range={"batch": (1, 1)}, failures=())

    monkeypatch.setattr(quantizing, "held", proven)
    with pytest.raises(ProofError, match="shown for batch 1 at most"):
        quantized(Layered(layers=8), tmp_path / "out", precision="int8-static", max_accuracy_loss=1.0)

    assert tried == [""]


def test_once_the_time_is_over_what_loses_least_is_the_last_to_be_tried(graph, tmp_path, monkeypatch):
    times = itertools.chain([time.monotonic()], itertools.repeat(math.inf))
    monkeypatch.setattr(quantizing, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(quantizing, "_LEAST_PROOFS", 0)

    package = quantized(graph(), tmp_path / "out", precision="int8", max_accuracy_loss=1.0)

    record, kept = kept_one(package)
    made = [one.calibrated.loss for one in record.candidates if one.calibrated is not None and not one.message]
    assert len(made) > 1
    assert kept.calibrated.loss == min(made)


def test_what_leads_by_little_is_measured_side_by_side_with_the_others(graph, tmp_path, monkeypatch):
    calls = []

    def compared(search, trials, group, seconds):
        is_again = any(one.latencies for one in group)
        calls.append((is_again, [one.name for one in group]))
        for one in group:
            first = {"int8-blocks": 1.6, "int8-dynamic": 1.55, "int8-static": 1.5, "fp16": 1.48}.get(one.name, 1.2)
            speed = 1.49 if is_again else first
            latency = Latency({"batch": 4}, 9, 1.0, 1.0, 1.0, speed, (speed, speed))
            yield replace(one, latencies=(latency,), came="not the fastest")

    monkeypatch.setattr(quantizing, "_compared", compared)
    package = quantized(graph(), tmp_path / "out", max_accuracy_loss=1.0, measure=True)

    _, kept = kept_one(package)
    assert [is_again for is_again, _ in calls] == [False, False, True]
    *_, (_, finals) = calls
    assert finals == ["int8-blocks", "int8-dynamic", "int8-static", "fp16"]
    assert kept.name == "fp16"  # it loses least


def test_scales_that_are_wrong_at_other_values_are_made_anew_with_these(tmp_path):
    small = np.random.default_rng(0).normal(size=(96, WIDTH)).astype(np.float32) / 12
    np.savez(tmp_path / "small.npz", x=small)

    package = quantized(
        Layered(), tmp_path / "out", precision="int8-min-max", max_accuracy_loss=1.0, samples=tmp_path / "small.npz"
    )

    found = package.manifest.quantizations["onnxruntime"].candidates[0]
    assert found.outcome == "kept"
    assert found.kept == {}
    assert "points as well at which something was wrong" in found.anew
    scales = [one for name, one in ir.load(package.file("int8")).graph.initializers.items() if name == "x/scale"]
    assert scales[0].const_value.numpy() > 3 * np.abs(small).max() / 127


SUMMED = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[batch, sequence, 4] x) => (float[batch, 4] y) <int64[1] axis = {1}> {
        a = MatMul (x, first) b = Relu (a) summed = ReduceSum <keepdims = 0> (b, axis) y = MatMul (summed, last)
    }"""


def test_what_overflows_in_float16_at_sizes_beyond_the_samples_stays_in_float32(tmp_path):
    model, draw = onnx.parser.parse_model(SUMMED), np.random.default_rng(0)
    weights = {"first": draw.normal(size=(4, 4)) * 100, "last": draw.normal(size=(4, 4)) * 1e-3}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(one.astype(np.float32), name) for name, one in weights.items()
    )
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "short.npz", x=draw.normal(size=(40, 3, 4)).astype(np.float32) * 9)
    profile = {"batch": (1, 2, 2), "sequence": (1, 8, 400)}

    options = {"precision": "fp16", "samples": tmp_path / "short.npz", "profile": profile}
    package = quantized(tmp_path / "model.onnx", tmp_path / "out", **options)

    _, kept = kept_one(package)
    assert "made anew" in kept.anew
    assert any("overflows" in reason for reason in kept.kept.values())
    x = draw.normal(size=(1, 400, 4)).astype(np.float32) * 9
    (answer,) = ReferenceEvaluator(str(package.file("fp16"))).run(None, {"x": x})
    (right,) = ReferenceEvaluator(str(package.file("fp32"))).run(None, {"x": x})
    np.testing.assert_allclose(answer, right, rtol=0.02, atol=0.02 * np.abs(right).max())


def test_what_loses_more_on_what_judges_is_made_anew_to_lose_less_than_it_did(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(remaking, "mixed", lambda search, wrong, budget: asked.append(budget) or iter(()))
    accuracy = Accuracy("m", "told", 0.026, None, 9)
    wrong = Tried(recipes()["int8-static"], "float32", "over budget", "told", calibrated=accuracy)

    assert remaking.anew(SimpleNamespace(budget=0.05), replace(wrong, judged=changed(accuracy, loss=0.06))) is None
    assert asked == [pytest.approx(0.026 * 0.05 / 0.06)]


def test_weights_that_an_older_file_lists_as_inputs_are_lowered(graph, tmp_path):
    model = onnx.load(graph())
    listed = [onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in model.graph.initializer]
    model.graph.input.extend(listed)
    onnx.save(model, tmp_path / "listed.onnx")

    package = quantized(tmp_path / "listed.onnx", tmp_path / "out", precision="int8-static", max_accuracy_loss=0.5)

    assert operators(package.file("int8")).count("QuantizeLinear") == 3
    assert package.signature.input_names == ("x",)


def test_what_is_not_shown_right_is_made_anew_with_more_in_float32(tmp_path, monkeypatch):
    prove, proofs = quantizing.held, []

    def proven(search, one, session):
        proofs.append(len(one.lowered.kept))
        proof = prove(search, one, session)
        wrong = (Failure({"batch": 2}, "values", "it is off", values="given"),)
        return changed(proof, verdict="failed", failures=wrong) if len(proofs) == 1 else proof

    monkeypatch.setattr(quantizing, "held", proven)
    package = quantized(Layered(layers=8), tmp_path / "out", precision="int8-static", max_accuracy_loss=1.0)

    assert package.manifest.quantizations["onnxruntime"].candidates[0].outcome == "kept"
    assert proofs[0] == 0 < proofs[1] < 8
    assert len(proofs) == 2


def test_exactly_the_hostile_product_stays_in_float32(graph, tmp_path):
    package = quantized(graph(1), tmp_path / "out", precision="int8-min-max", max_accuracy_loss=0.05)

    _, kept = kept_one(package)
    assert len(kept.kept) == 1
    ((node, reason),) = kept.kept.items()
    assert "layers.1" in node
    assert "off by" in reason
    assert operators(package.file("int8")).count("QuantizeLinear") == 2


class Sequences(Layered):
    """Products of sequences, which are written as `MatMul`: ONNX Runtime has a kernel for their weights in int8."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x[:, None])


@pytest.mark.parametrize("kind", [Layered, Sequences])
def test_weights_that_cost_too_much_in_int8_stay_in_float32(kind, tmp_path):
    hostile = kind()
    with torch.no_grad():
        # What one small channel is multiplied by is so large that the scale of each column leaves the others no step.
        hostile.layers[0].weight[0] *= 1e-3
        hostile.layers[0].bias[0] *= 1e-3
        hostile.layers[1].weight[:, 0] *= 1e3
    package = quantized(hostile, tmp_path / "out", precision="int8-weights", max_accuracy_loss=0.02, engine="openvino")

    _, kept = kept_one(package, "openvino")
    assert ["layers.1" in node for node in kept.kept] == [True]
    assert all("off by" in reason for reason in kept.kept.values())
    assert operators(package.file("int8")).count("DequantizeLinear") == 2


def test_float16_is_judged_by_what_the_type_does_and_keeps_what_would_overflow(graph, tmp_path):
    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            return self.last(torch.tanh((self.first(x) * 3e5) * 1e-5))

    package = quantized(Large(), tmp_path / "out", precision="fp16", max_accuracy_loss=0.01)

    _, kept = kept_one(package)
    reasons = " ".join(kept.kept.values())
    assert "65504" in reasons
    assert not any("last" in node for node in kept.kept)
    types = {weight.name: weight.data_type for weight in onnx.load(package.file("fp16")).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types.values()


def test_a_foreign_graph_is_its_own_reference(graph, tmp_path):
    first = quantized(graph(), tmp_path / "first", precision="int8-static", max_accuracy_loss=0.05)
    package = ow.quantize(
        first.file("fp32"), tmp_path / "again", precision="int8-static", max_accuracy_loss=0.05, **QUICK
    )
    of_package = ow.quantize(
        tmp_path / "first", tmp_path / "more", precision="int8-static", max_accuracy_loss=0.05, **QUICK
    )

    for found in (package, of_package):
        record, kept = kept_one(found)
        assert kept.judged.loss <= 0.05
        assert "random inputs" in record.samples
        assert "int8" in found.manifest.variants


def test_the_same_seed_gives_the_same_answer(graph, tmp_path):
    ways = {"precision": "int8", "max_accuracy_loss": 0.05}
    once, again = (quantized(graph(), tmp_path / name, **ways) for name in ("once", "again"))

    assert once.manifest.quantizations == again.manifest.quantizations
    assert once.manifest.variants["int8"].sha256 == again.manifest.variants["int8"].sha256


def test_auto_keeps_nothing_that_is_not_faster(graph, tmp_path):
    package = quantized(graph(), tmp_path / "out", precision="auto", max_accuracy_loss=0.05, measure=True)

    record = package.manifest.quantizations["onnxruntime"]
    for one in record.candidates:
        if one.outcome == "kept":
            assert any(latency.speedup_interval[0] > 1 for latency in one.latencies)
    assert {one.outcome for one in record.candidates} <= {
        *("kept", "not the fastest", "loses more", "slower", "no faster", "over budget", "not shown right", "refused")
    }
    best = frontier(record)
    assert best == sorted(best, key=lambda one: one.latencies[-1].speedup >= 0, reverse=True)
    assert all(one in record.candidates for one in best)


def test_samples_calibrate_with_one_half_and_judge_with_the_other(graph, tmp_path):
    samples = np.random.default_rng(3).normal(size=(40, WIDTH)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=samples)

    package = quantized(
        graph(), tmp_path / "out", precision="int8-static", max_accuracy_loss=0.05, samples=tmp_path / "samples.npz"
    )

    record, kept = kept_one(package)
    assert (record.calibrating, record.judging) == (20, 20)
    assert kept.judged.samples == 20
    assert "40 samples" in record.samples


def test_not_finite_samples_are_refused(graph, tmp_path):
    samples = np.random.default_rng(3).normal(size=(40, WIDTH)).astype(np.float32)
    samples[3, 2] = np.nan
    np.savez(tmp_path / "samples.npz", x=samples)

    with pytest.raises(UsageError, match="NaN"):
        quantized(graph(), tmp_path / "out", precision="int8", samples=tmp_path / "samples.npz")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"precision": "int7"}, "precision 'int7' is unknown; expected"),
        ({"max_accuracy_loss": -1.0}, "max accuracy loss -1.0: expected a number of at least 0"),
        ({"max_accuracy_loss": float("nan")}, "max accuracy loss nan: expected a number of at least 0"),
        ({"precision": "int8", "search_seconds": float("nan")}, "search time nan: expected seconds, at least 0"),
        ({"precision": "int8", "search_seconds": -1.0}, "search time -1.0: expected seconds, at least 0"),
    ],
)
def test_what_is_no_precision_or_budget_is_refused(graph, options, told, tmp_path):
    with pytest.raises(UsageError, match=told):
        quantized(graph(), tmp_path / "out", **options)


def test_a_graph_without_products_is_told_of(graph, tmp_path):
    class Sum(nn.Module):
        def forward(self, x):
            return x.cumsum(1)

    with pytest.raises(ProofError, match="no product with constant weights"):
        quantized(Sum(), tmp_path / "out", precision="int8", max_accuracy_loss=0.1)


def test_rows_of_a_package_tell_what_was_tried(graph, tmp_path):
    quantized(graph(), tmp_path / "out", precision="int8", max_accuracy_loss=0.05)

    text = inspect(tmp_path / "out").text
    assert "is kept: it loses" in text
    assert "int8-asymmetric" in text
    assert "budget" in text


def test_the_frontier_is_drawn(graph, tmp_path):
    quantized(graph(), tmp_path / "out", precision="int8", max_accuracy_loss=0.05, measure=True)
    drawn = CliRunner().invoke(app, ["inspect", str(tmp_path / "out"), "--frontier", str(tmp_path / "frontier.svg")])

    assert drawn.exit_code == 0, drawn.output
    assert "int8-static" in (tmp_path / "frontier.svg").read_text(encoding="utf-8")


def test_the_command_line_lowers_a_graph(graph, tmp_path):
    first = quantized(graph(), tmp_path / "first", precision="fp32")
    done = CliRunner().invoke(
        app,
        [
            *("quantize", str(first.file()), "-o", str(tmp_path / "out"), "--precision", "int8-static", "--json"),
            *("--max-accuracy-loss", "0.05", "--no-measure", "--proof", "quick", "--engine", "onnxruntime"),
        ],
    )

    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["variants"]["int8"]["accuracy"]["loss"] <= 0.05


def test_texts_judge_a_package_that_has_a_tokenizer(text_package, tmp_path):
    """A package brings its tokenizer and its task, so that texts judge it as they judge the model it was made of."""
    (tmp_path / "texts.txt").write_text("\n".join(f"text number {number} of many" for number in range(24)))

    package = ow.quantize(
        text_package,
        tmp_path / "out",
        precision="int8-static",
        max_accuracy_loss=0.5,
        samples=tmp_path / "texts.txt",
        **{**QUICK, "profile": {"batch": (1, 2, 4), "sequence": (1, 8, 16)}},
    )

    record, kept = kept_one(package)
    assert "24 texts of 'texts.txt'" in record.samples
    assert kept.judged.measure == "embedding"
    assert kept.neighbours is not None
    assert package.task == "embedding"


def foreign(tmp_path, text):
    file = tmp_path / "foreign.onnx"
    onnx.save(onnx.parser.parse_model(text), file)
    return file


@pytest.mark.parametrize(
    ("precision", "told"),
    [
        ("int8-blocks", "no weight of a matrix product could be held in a smaller type: its weight is smaller"),
        ("int8-tables", "no table of embeddings could be held in a smaller type: there are none"),
        ("fp16-tables", "no table of embeddings could be held in a smaller type: there are none"),
    ],
)
def test_a_graph_of_which_nothing_is_lowered_is_not_called_so(small, precision, told, tmp_path):
    package = ow.quantize(small(), tmp_path / "out", precision=precision, **QUICK)

    assert list(package.manifest.variants) == ["fp32"]
    (found,) = [one.message for one in package.manifest.findings if one.code == "precision-kept"]
    assert told in found


def test_a_graph_that_is_float16_already_is_not_lowered_to_it(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float16[batch, 16] x) => (float16[batch, 16] y) { y = MatMul (x, w) }"""
    _save(text, tmp_path / "half.onnx", w=np.random.default_rng(0).normal(size=(16, 16)).astype(np.float16))
    package = ow.quantize(tmp_path / "half.onnx", tmp_path / "out", precision="fp16", **QUICK)

    assert list(package.manifest.variants) == ["fp32"]
    assert "nothing of it is in float32" in " ".join(found.message for found in package.manifest.findings)


def test_a_package_in_int8_is_proven_again_by_the_limits_of_its_own_proof(small, tmp_path):
    ow.quantize(small(), tmp_path / "out", precision="int8-static", max_accuracy_loss=0.05, **QUICK)
    (again,) = ow.prove(tmp_path / "out").values()

    assert again.verdict == "proven", again.findings
    assert again.tolerance.name == "lower-precision"
    assert again.tolerance.is_overall
    assert "int8" in again.candidate

    _replace_in_package(tmp_path / "out", "int8", lambda model: _scaled(model, 2.0))
    (wrong,) = ow.prove(tmp_path / "out").values()
    assert wrong.verdict == "failed"


def test_a_package_in_float16_is_proven_again_by_the_limits_of_its_own_proof(small, tmp_path):
    ow.quantize(small(), tmp_path / "out", precision="fp16", max_accuracy_loss=0.05, **QUICK)
    (again,) = ow.prove(tmp_path / "out").values()

    assert again.verdict == "proven", again.findings
    assert again.tolerance.name == "lower-precision"


CALLING = """<ir_version: 8, opset_import: ["" : 17, "mine": 1]>
    g (float[batch, 16] x) => (float[batch, 8] y) { a = mine.line (x, first) y = mine.line (a, last) }
    <domain: "mine", opset_import: ["" : 17]> line (x, w) => (y) { h = MatMul (x, w) y = Relu (h) }"""


@pytest.mark.parametrize(("precision", "kind"), [("int8-static", "QuantizeLinear"), ("fp16", "Cast")])
def test_what_is_in_functions_is_lowered_too(precision, kind, tmp_path):
    model, draw = onnx.parser.parse_model(CALLING), np.random.default_rng(0)
    for name, shape in {"first": (16, 12), "last": (12, 8)}.items():
        weight = draw.normal(size=shape).astype(np.float32) / 4
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    onnx.save(model, tmp_path / "calling.onnx")

    package = quantized(tmp_path / "calling.onnx", tmp_path / "out", precision=precision, max_accuracy_loss=0.5)

    lowered = onnx.load(package.file(package.manifest.default.variant))
    assert [node.op_type for node in lowered.graph.node].count(kind) == 2
    assert not lowered.functions
    assert "mine" in {node.domain for node in onnx.load(package.file("fp32")).graph.node}


def test_samples_that_the_model_refuses_are_told(tmp_path):
    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.line = nn.Embedding(10, 8), nn.Linear(8, 4)

        def forward(self, ids):
            return self.line(self.table(ids))

    np.savez(tmp_path / "samples.npz", ids=np.arange(60).reshape(20, 3))
    example = {"example_inputs": {"ids": torch.ones(2, 3, dtype=torch.long)}, "dims": {"ids": {0: "batch"}}}

    with pytest.raises(
        UsageError, match=r"samples: the model refuses one of them \(ids int64\[1, 3\]\): .* Give samples"
    ):
        ow.quantize(Looking(), tmp_path / "out", samples=tmp_path / "samples.npz", **example, **QUICK)


def types_of(file):
    graph = onnx.load(file).graph
    return [
        onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type).name
        for one in (*graph.input, *graph.output)
    ]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_inputs_and_outputs_are_lowered_where_that_is_asked_for(engine, small, tmp_path):
    options = {**QUICK, "engine": engine, "measure": True}
    package = ow.quantize(small(), tmp_path / "out", precision="fp16", max_accuracy_loss=0.05, lower_io=True, **options)

    assert types_of(package.file("fp16")) == ["float16", "float16"]
    assert package.manifest.variants["fp16"].io == "float16"
    x = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    (wanted,), (found,) = (package.session(variant=one).run({"x": x}).values() for one in ("fp32", "fp16"))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() < 0.01 * np.abs(wanted).max()
    assert "float16, float16 in and out" in inspect(tmp_path / "out").text
    (again,) = ow.prove(tmp_path / "out").values()
    assert again.verdict == "proven"
    assert len(package.manifest.variants["fp16"].measurements) == 1


def test_inputs_and_outputs_stay_else(small, tmp_path):
    package = ow.quantize(small(), tmp_path / "out", precision="fp16", max_accuracy_loss=0.05, **QUICK)

    assert types_of(package.file("fp16")) == ["float32", "float32"]
    assert package.manifest.variants["fp16"].io == "float32"


def test_an_input_that_float16_does_not_hold_is_not_lowered(tmp_path):
    class Scaled(nn.Module):
        def forward(self, x):
            return torch.tanh(x * 1e-6)

    x = 1e6 * torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(1))
    np.savez(tmp_path / "samples.npz", x=x.numpy())
    options = {**QUICK, "precision": "fp16", "samples": tmp_path / "samples.npz", "max_accuracy_loss": 0.05}
    example = {"example_inputs": {"x": x[:2]}, "dims": {"x": {0: "batch"}}}

    with pytest.raises(ProofError, match="nothing of it stays within a loss"):
        ow.quantize(Scaled(), tmp_path / "out", lower_io=True, **example, **options)


@pytest.mark.parametrize("precision", ["int8", "weights", "bf16", "fp32"])
def test_inputs_and_outputs_are_lowered_with_float16_only(precision, small, tmp_path):
    with pytest.raises(UsageError, match="lower io: is for graphs in float16"):
        ow.quantize(small(), tmp_path / "out", precision=precision, lower_io=True, **QUICK)


def test_a_package_whose_graph_was_altered_is_no_source(small, tmp_path):
    ow.quantize(small(), tmp_path / "out", precision="fp32", **QUICK)
    file = tmp_path / "out" / "onnx" / "model.onnx"
    onnx.save(_scaled(onnx.load(file), 2.0), file)

    with pytest.raises(SourceError, match="was altered"):
        ow.quantize(tmp_path / "out", tmp_path / "again", precision="int8-static", **QUICK)
    assert not (tmp_path / "again").exists()


def test_rows_that_depend_on_each_other_in_the_model_itself_are_not_held_against_a_variant(small, tmp_path):
    file = small("m = ReduceMean <keepdims = 1> (t, zero) d = Add (t, m)", zero=np.array([0]))
    package = ow.quantize(file, tmp_path / "out", precision="int8-static", max_accuracy_loss=0.05, **QUICK)

    assert kept_one(package)[1].neighbours is None


def test_rows_on_another_axis_than_the_first_are_not_taken_apart(tmp_path):
    weight = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[sequence, batch, 16] x) => (float[batch, 16] y) { s = ReduceSum <keepdims = 0> (x, zero)
    y = MatMul (s, w) }"""
    file = tmp_path / "m.onnx"
    _save(text, file, w=weight, zero=np.array([0]))
    profile = {"batch": (1, 2, 4), "sequence": (1, 2, 4)}
    package = ow.quantize(
        file, tmp_path / "out", precision="int8-static", max_accuracy_loss=0.1, **{**QUICK, "profile": profile}
    )

    assert kept_one(package)[1].neighbours is None


def test_a_search_without_time_says_so(small, tmp_path):
    with pytest.raises(ProofError, match="nothing of it could be made") as refusal:
        ow.quantize(small(), tmp_path / "out", precision="int8", search_seconds=0.0, **QUICK)

    assert "allow more with --search-time" in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_a_search_whose_time_ends_meanwhile_says_so_and_keeps_nothing_unjudged(graph, tmp_path, monkeypatch):
    calls, refuse = iter(range(1000)), mixing.refuse_late

    def late(deadline):
        if next(calls) > 1:
            refuse(-1.0)

    monkeypatch.setattr(candidates, "refuse_late", late)
    monkeypatch.setattr(mixing, "refuse_late", late)
    with pytest.raises(ProofError, match="nothing of it stays within") as refusal:
        quantized(graph(1), tmp_path / "out", precision="int8-min-max", max_accuracy_loss=0.05)

    assert "With more in float32: the time for the search ran out" in str(refusal.value)


def test_products_are_asked_of_fewer_samples_where_these_take_long(graph, tmp_path, monkeypatch):
    asked = []
    run = mixing._Switched.run
    monkeypatch.setattr(mixing._Switched, "run", lambda self, feeds: asked.append(self.chosen) or run(self, feeds))
    monkeypatch.setattr(mixing, "_SHARE", 1e-9)

    package = quantized(graph(1), tmp_path / "out", precision="int8-min-max", max_accuracy_loss=0.05)

    assert len(kept_one(package)[1].kept) == 1
    assert [len(chosen) for chosen in asked[:4]] == [0, 1, 1, 1]


def test_all_is_made_before_anything_is_mended_and_what_lacks_least_comes_first(monkeypatch):
    made = [
        Tried(recipes()[name], "float32", came, "told", calibrated=Accuracy("m", "told", loss, None, 9))
        for name, came, loss in (
            ("int8-static", "over budget", 0.5),
            ("fp16", "not the fastest", 0.0),
            ("int8-dynamic", "over budget", 0.1),
        )
    ]
    order = []
    monkeypatch.setattr(candidates, "_with_more_kept", lambda bench, one: order.append(one.name) or one)

    assert candidates.mended(None, made) == made
    assert order == ["int8-dynamic", "int8-static"]


def compared(name, gain, lost):
    latencies = tuple(Latency({"batch": one}, 9, 1.0, 1.0, 1.0, gain, (gain, gain)) for one in (1, 8))
    accuracy = Accuracy("m", "told", lost, None, 9)
    return Tried(recipes()[name], "float32", latencies=latencies, calibrated=accuracy)


def test_of_what_is_as_fast_the_one_that_loses_least_comes_first_and_the_other_is_said_to_lose_more():
    fast, close, slow = (
        compared("int8-static", 2.0, 0.3),
        compared("fp16", 1.97, 0.1),
        compared("int8-dynamic", 1.9, 0.0),
    )

    assert foremost([fast, close, slow]) is close
    assert foremost([fast, slow]) is fast
    assert [one.concluded(close, is_measured=True).outcome for one in (fast, close, slow)] == [
        *("loses more", "kept", "not the fastest")
    ]


def test_where_nothing_was_measured_the_first_comes_first():
    first, other = (replace(compared(name, 2.0, 0.1), latencies=()) for name in ("int8-static", "fp16"))

    assert foremost([first, other]) is first


def test_few_candidates_are_in_memory_at_once(graph, tmp_path, monkeypatch):
    counting = Counting()
    monkeypatch.setattr(candidates.backends, "engine", lambda name: counting)
    monkeypatch.setattr(quantizing, "AT_ONCE", 1)
    monkeypatch.setattr(quantizing, "_SECONDS", 0.1)
    monkeypatch.setattr(variants, "_TIMED_SECONDS", 0.1)

    package = quantized(
        graph(), tmp_path / "out", precision="int8", max_accuracy_loss=0.05, measure=True, engine="onnxruntime"
    )

    assert len([one for one in package.manifest.quantizations["onnxruntime"].candidates if one.latencies]) == 3
    assert counting.most <= 3


def test_labels_that_are_missing_are_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(UsageError, match=r"labels '.*none.txt': no such file"):
        ow.quantize("nowhere.onnx", tmp_path / "out", precision="int8", labels=tmp_path / "none.txt")


def test_labels_that_the_task_has_no_measure_for_are_refused_before_the_search(small, tmp_path):
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(3).normal(size=(20, 16)).astype(np.float32))
    (tmp_path / "labels.txt").write_text("1\n" * 20)
    stages, given = Heard(), {"samples": tmp_path / "samples.npz", "labels": tmp_path / "labels.txt"}
    with pytest.raises(UsageError, match="labels"):
        ow.quantize(small(), tmp_path / "out", precision="int8", progress=stages, **given, **QUICK)

    assert stages.names[-1] == "ask the samples"


def test_float16_that_only_a_graph_in_float32_would_keep_within_the_budget_is_over_it(small, tmp_path):
    with pytest.raises(ProofError, match="nothing of it stays within a loss of 0") as refusal:
        ow.quantize(small(), tmp_path / "out", precision="fp16", max_accuracy_loss=0.0, **QUICK)

    assert "fp16: over budget: it loses" in str(refusal.value)


def test_what_an_engine_gains_nothing_from_is_said_once(small, tmp_path):
    with pytest.raises(ProofError, match="nothing of it could be made") as refusal:
        ow.quantize(small(), tmp_path / "out", precision="bf16-execution", **QUICK)
    package = ow.quantize(small(), tmp_path / "auto", **{**QUICK, "engine": "openvino"}, max_accuracy_loss=0.0)

    assert "it executes a graph in the types that are written in it" in str(refusal.value)
    names = [one.recipe for one in package.manifest.quantizations["openvino"].candidates if one.outcome == "refused"]
    assert names.count("int4-rtn") == 1


def test_samples_are_looked_at_before_any_work(small, tmp_path):
    np.savez(tmp_path / "samples.npz", x=np.zeros((0, 16), np.float32))
    stages = Heard()
    with pytest.raises(UsageError, match="no sample in it"):
        ow.quantize(
            small(), tmp_path / "out", precision="int8", samples=tmp_path / "samples.npz", progress=stages, **QUICK
        )

    assert stages.names == ["load", "examine"]


class Heard:
    """Keeps the names of the stages."""

    def __init__(self):
        self.names = []

    @contextlib.contextmanager
    def stage(self, name):
        self.names.append(name)
        yield

    def note(self, text):
        pass


@pytest.fixture
def small(tmp_path):
    """Writes two products with a step in between."""

    def write(middle="d = Identity (t)", **weights):
        rng = np.random.default_rng(0)
        text = f"""<ir_version: 8, opset_import: ["" : 18]>
        g (float[batch, 16] x) => (float[batch, 16] y)
        {{ a = MatMul (x, w) t = Tanh (a) {middle} y = MatMul (d, v) }}"""
        own = {name: (rng.normal(size=(16, 16)) / 4).astype(np.float32) for name in "wv"}
        _save(text, tmp_path / "small.onnx", **own, **weights)
        return tmp_path / "small.onnx"

    return write


def _save(text, file, **weights):
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.save(model, file)


def _scaled(model, factor):
    """A graph one of whose weights is so many times as large."""
    weight = next(one for one in model.graph.initializer if one.name == "v" or one.name.endswith("/int8/scale"))
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * factor, weight.name))
    return model


def _replace_in_package(folder, variant, change):
    """Replaces the graph of a variant, as one who takes care that the digest fits."""
    package = ow.open(folder)
    file = package.file(variant)
    onnx.save(change(onnx.load(file)), file)
    found = msgspec.structs.replace(package.manifest.variants[variant], sha256=digest(file))
    variants = {**package.manifest.variants, variant: found}
    write_manifest(folder, msgspec.structs.replace(package.manifest, variants=variants))


def test_where_float16_overflows_everywhere_the_graph_stays_in_float32_and_says_so(tmp_path):
    file = foreign(
        tmp_path,
        """<ir_version: 8, opset_import: ["" : 18]>
        g (float[batch, 4] x) => (float[batch, 4] y) <float f = {1e6}> { a = Mul (x, f)
        y = Mul (a, f) }""",
    )
    package = ow.quantize(file, tmp_path / "out", precision="fp16", **QUICK)

    assert list(package.manifest.variants) == ["fp32"]
    (told,) = [found.message for found in package.manifest.findings if found.code == "precision-kept"]
    assert "nothing could be computed in float16" in told
    assert "65504" in told


def test_weights_that_are_int8_already_are_left_alone(graph, tmp_path):
    first = quantized(graph(), tmp_path / "first", precision="int8-static", max_accuracy_loss=0.05)

    with pytest.raises(ProofError, match="no product with constant weights"):
        ow.quantize(first.file("int8"), tmp_path / "again", precision="int8-static", max_accuracy_loss=0.05, **QUICK)


def test_a_graph_written_in_bfloat16_is_a_file_of_its_own(graph, tmp_path):
    package = quantized(graph(), tmp_path / "out", precision="bf16-graph", max_accuracy_loss=0.05, engine="openvino")

    assert package.manifest.variants["bf16"].file == "onnx/model_bf16.onnx"


@pytest.mark.skipif(
    not {"avx512_bf16", "amx_bf16"} & {*environment.instructions()}, reason="the processor has no bfloat16"
)
def test_a_graph_that_is_executed_in_bfloat16_is_the_one_as_exported(graph, tmp_path):
    package = quantized(graph(), tmp_path / "out", precision="bf16", max_accuracy_loss=0.05, engine="openvino")

    variant = package.manifest.variants["bf16"]
    assert (variant.file, variant.execution) == ("onnx/model.onnx", "bfloat16")
    assert package.session().ran.precision == "bfloat16"


@pytest.mark.parametrize("recipe", ["int8-onnxruntime", "int8-nncf"])
def test_what_other_libraries_make_is_judged_alike(graph, recipe, tmp_path):
    if recipe == "int8-nncf" and importlib.util.find_spec("nncf") is None:
        with pytest.raises(ProofError, match="the package 'nncf' is not installed"):
            quantized(graph(), tmp_path / "out", precision=recipe, max_accuracy_loss=0.5)
        return
    package = quantized(graph(), tmp_path / "out", precision=recipe, max_accuracy_loss=0.5)

    _, kept = kept_one(package)
    assert 0 < kept.judged.loss <= 0.5
    assert "QuantizeLinear" in operators(package.file("int8"))


@pytest.mark.parametrize(
    ("made_with", "recipe", "is_refused"),
    [
        (("avx2", "avx512_vnni"), "int8-static", True),
        (("avx2",), "int8-static", False),
        (("avx2", "avx512_vnni"), "fp16", False),
        ((), "int8-static", False),
    ],
)
def test_products_proven_where_they_add_up_in_32_bits_are_refused_where_they_overflow(
    made_with, recipe, is_refused, counting, monkeypatch
):
    kept = manifests.Candidate(recipe, "float32", "kept")
    record = manifests.Quantization("", "model", "int8", 0.01, "", "", 1, 1, True, (kept,), made_with)
    package = ow.open(counting(quantizations={"onnxruntime": record}))
    monkeypatch.setattr(environment, "instructions", lambda: ("avx2",))

    if is_refused:
        with pytest.raises(ow.EngineError, match=r"added up in 32 bits \(avx2, avx512_vnni\), and this processor"):
            package.session()
    else:
        package.session()

    monkeypatch.setattr(environment, "instructions", lambda: ("avx2", "avx_vnni"))
    package.session()
