import json
import sys

import msgspec
import numpy as np
import onnx
import onnx.helper
import onnx.parser
import pytest

from onnxwright.errors import MissingExtraError, SourceError
from onnxwright.files import digest
from onnxwright.findings import Finding
from onnxwright.graph.reading import read_outline
from onnxwright.manifest import Attempt, Divergence, Drift, EngineProof, Evidence, Latency, Measurement, Step
from onnxwright.reports.columns import in_comparison, in_range, in_ranges
from onnxwright.reports.outline import GraphReport
from onnxwright.reports.summary import PackageReport
from onnxwright.stages.inspect import Report, inspect

BRANCHING = """
<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1], producer_name: "hand", producer_version: "1">
branching (float[batch, 4] x, bool go, float[?, 2] free) => (float[batch, 4] y)
    <float[4, 4] w = {1, -2, 3, 4, 5, 6, -7, 8, 9, 1, 2, -3, 4, 5, 6, 7}, int64[3] n = {1, 2, 3}> {
    h = MatMul (x, w)
    y = If (go) <
        then_branch = yes () => (float[batch, 4] a) { a = Relu (h) },
        else_branch = no () => (float[batch, 4] b) { c = Relu (h)  b = com.microsoft.Gelu (c) }
    >
}
"""


def write(folder, text=BRANCHING):
    file = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), file)
    return file


def lines(report, start):
    return [line.split() for line in report.text.splitlines() if line.startswith(start)]


@pytest.fixture
def told(counting, proof_of):
    """A package with everything that a manifest can tell."""
    ranges = {"batch": (1, 4), "sequence": (1, 16)}
    fast = Latency({"batch": 1, "sequence": 8}, 100, 1.25, 1.5, 2.0, 2.5, (2.25, 2.75))
    same = Latency({"batch": 4, "sequence": 8}, 100, 4.0, 4.5, 5.0, 1.01, (0.97, 1.06))
    own = Latency({"batch": 1, "sequence": 8}, 100, 3.125, 3.5, 4.0, 1.0, (1.0, 1.0))
    ran = {"backend": "onnxruntime", "threads": 2}
    folder = counting(
        task="embedding",
        findings=(
            Finding("range-narrowed", "Only to 16 <b>tokens</b>.", where="model.py:7", repair="plain-attention"),
            Finding(
                "value-branch-frozen",
                "Branches.",
                where="model.py:41",
                module="encoder.layer.0",
                evidence="Relu at 1, Sigmoid at 2",
                excerpt=("  40  y = x", "> 41  if y.sum() > 0:", "  42      y = -y"),
            ),
        ),
        attempts=(
            Attempt("trace", 17, "failed", "outputs differ", seconds=1.5),
            Attempt("dynamo", 18, "proven", "proven on the whole profile", ranges, 6.25),
        ),
        lineage=(Step("load", {"source": "a folder", "inputs": ["a", "b"], "sizes": {"batch": 2, "sequence": 13}}),),
    )
    file = folder / "onnxwright.json"
    manifest = json.loads(file.read_text())
    variant = manifest["variants"]["model"]
    variant["measurements"] = msgspec.to_builtins(
        (
            Measurement("onnxruntime float32", "pytorch", ran, (fast, same), 1e-6),
            Measurement("pytorch float32", "pytorch", {"backend": "pytorch", "threads": 2}, (own,), 0.0),
        )
    )
    (folder / "evidence.bin").write_bytes(b"x")
    manifest["evidence"] = msgspec.to_builtins(Evidence("evidence.bin", "0" * 64, 7))
    variant["engines"]["openvino"] = msgspec.to_builtins(
        EngineProof(executed=False, proof=None, message="not installed")
    )
    file.write_text(json.dumps(manifest))
    return folder


class TestPackage:
    def test_tells_everything_that_the_manifest_holds(self, told):
        report = inspect(told)
        assert isinstance(report, PackageReport)
        for words in [
            "verdict proven",
            "range batch 1 to 4, sequence 1 to 16",
            "task embedding",
            "default model onnxruntime",
            "input input_ids int64[batch, sequence]",
            "output sentence_embedding float32[batch, 2]",
            "proof 12 points onnxruntime float32 against pytorch",
            "worst 1e-07 of 1e-05 sentence_embedding at batch 2, sequence 5, values typical",
            "tolerance 1e-05 sentence_embedding same-precision, from float64",
            "engine model onnxruntime proven for batch 1 to 4, sequence 1 to 16 available here",
            "engine model openvino not executed: not installed",
            "p95 1.5 ms p99 2 ms 2.50× faster than pytorch (2.25 to 2.75)",
            "p99 5 ms no difference to pytorch",
            "median 3.12 ms p95 3.5 ms p99 4 ms the baseline",
            "finding range-narrowed Only to 16 <b>tokens</b>. model.py:7 repair: plain-attention",
            "attempt trace, opset 17 failed 1.5 s outputs differ",
            "lineage load source: a folder; inputs: a, b; sizes: batch 2, sequence 13",
            "environment onnxruntime 1.0",
            "evidence evidence.bin 7 points",
        ]:
            assert words in " ".join(report.text.split()), words

    def test_each_line_begins_with_what_it_is(self, told):
        kinds = {line.split("  ")[0] for line in inspect(told).text.splitlines()}
        assert {"package", "verdict", "input", "output", "variant", "engine", "measured", "finding"} <= kinds

    def test_shows_a_finding_with_its_lines_of_source(self, told):
        told = inspect(told).text.splitlines()
        at = next(number for number, line in enumerate(told) if "value-branch-frozen" in line)
        column = told[at].index("Branches.")
        assert told[at][column:] == "Branches. model.py:41 in encoder.layer.0"
        assert [line[column:] for line in told[at + 1 : at + 5]] == [
            "evidence: Relu at 1, Sigmoid at 2",
            "    40  y = x",
            "  > 41  if y.sum() > 0:",
            "    42      y = -y",
        ]
        assert all(line.startswith("finding") for line in told[at : at + 5])
        assert not told[at + 5].startswith("finding")

    def test_shows_where_a_candidate_leaves_the_reference(self, counting, proof_of):
        growth = (Drift("", "model.py:3", 1e-8), Drift("encoder.norm", "model.py:9", 0.25))
        divergence = Divergence(
            {"batch": 2, "sequence": 5}, "large", "encoder.norm", "model.py:9", "/norm/Div", 0.25, growth, "No epsilon."
        )
        proof = msgspec.structs.replace(proof_of({"batch": (1, 4), "sequence": (1, 16)}), divergence=divergence)
        assert lines(inspect(counting(proof=proof)), "diverges") == [
            ["diverges", "at", "batch", "2,", "sequence", "5,", "values", "large"],
            ["diverges", "in", "encoder.norm", "model.py:9"],
            ["diverges", "node", "/norm/Div"],
            ["diverges", "error", "0.25"],
            ["diverges", "growth", "1e-08", "the", "module", "itself", "model.py:3"],
            ["diverges", "growth", "0.25", "encoder.norm", "model.py:9"],
            ["diverges", "because", "No", "epsilon."],
        ]
        assert lines(inspect(counting("other")), "diverges") == []

    def test_shows_where_a_candidate_stops_without_a_number(self, counting, proof_of):
        divergence = Divergence(
            {"batch": 1, "sequence": 1}, "typical", "", "model.py:9", "/Gather", None, (Drift("", "model.py:3", None),)
        )
        proof = msgspec.structs.replace(proof_of({"batch": (1, 4), "sequence": (1, 16)}), divergence=divergence)
        assert lines(inspect(counting(proof=proof)), "diverges") == [
            ["diverges", "at", "batch", "1,", "sequence", "1,", "values", "typical"],
            ["diverges", "in", "the", "module", "itself", "model.py:9"],
            ["diverges", "node", "/Gather"],
            ["diverges", "growth", "-", "the", "module", "itself", "model.py:3"],
        ]

    def test_json_holds_the_manifest(self, told):
        report = inspect(told)
        content = json.loads(msgspec.json.encode(report))
        assert content["kind"] == "package"
        assert content["manifest"] == json.loads((told / "onnxwright.json").read_text())
        assert content["engines"]["onnxruntime"] is None
        assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report

    def test_says_that_an_engine_is_unknown(self, counting):
        report = inspect(counting(engines=("onnxruntime", "engine-of-the-future")))
        assert report.engines["engine-of-the-future"] == "unknown to this version"

    def test_refuses_a_folder_that_is_no_package(self, tmp_path):
        with pytest.raises(SourceError, match="is not a package"):
            inspect(tmp_path)


class TestGraph:
    def test_describes_boundary_and_origin(self, tmp_path):
        report = inspect(write(tmp_path))
        assert isinstance(report, GraphReport)
        assert [(found.name, str(found)) for found in report.inputs] == [
            ("x", "float32[batch, 4]"),
            ("go", "bool[]"),
            ("free", "float32[?, 2]"),
        ]
        assert str(report.outputs[0]) == "float32[batch, 4]"
        assert (report.producer, report.ir_version) == ("hand 1", 8)
        assert report.opsets == {"ai.onnx": 17, "com.microsoft": 1}
        assert report.sha256 == digest(tmp_path / "model.onnx")

    def test_counts_operators_in_branches_too(self, tmp_path):
        report = inspect(write(tmp_path))
        assert report.operators == {"Relu": 2, "If": 1, "MatMul": 1, "com.microsoft::Gelu": 1}
        assert ["operator", "Relu", "2"] in lines(report, "operator")

    def test_weighs_initializers_by_type(self, tmp_path):
        report = inspect(write(tmp_path))
        assert report.weights.count == 2
        assert report.weights.bytes == 16 * 4 + 3 * 8
        assert report.weights.elements == {"float32": 16, "int64": 3}

    def test_weighs_types_smaller_than_a_byte(self, tmp_path):
        model = onnx.parser.parse_model(BRANCHING)
        model.graph.initializer.append(onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [5], [1, 2, 3, 4, 5]))
        onnx.save(model, tmp_path / "model.onnx")
        weights = inspect(tmp_path / "model.onnx").weights
        assert weights.elements["int4"] == 5
        assert weights.bytes == 16 * 4 + 3 * 8 + 3

    def test_names_external_data_and_what_is_missing(self, tmp_path):
        model = onnx.parser.parse_model(BRANCHING)
        big = onnx.numpy_helper.from_array(np.arange(2048, dtype=np.float32), "big")
        model.graph.initializer.append(big)
        file = tmp_path / "model.onnx"
        onnx.save(model, file, save_as_external_data=True, location="model.onnx.data")
        assert inspect(file).weights.files == ("model.onnx.data",)
        assert inspect(file).weights.bytes == 16 * 4 + 3 * 8 + 2048 * 4
        (tmp_path / "model.onnx.data").unlink()
        assert inspect(file).weights.files == ("model.onnx.data (missing)",)

    def test_json_and_text_tell_the_same(self, tmp_path):
        report = inspect(write(tmp_path))
        content = json.loads(msgspec.json.encode(report))
        assert content["kind"] == "onnx"
        assert content["inputs"][0] == {"name": "x", "dtype": "float32", "shape": ["batch", 4]}
        assert lines(report, "sha256") == [["sha256", report.sha256]]
        assert lines(report, "weights") == [
            ["weights", "2", "tensors", "88", "bytes"],
            ["weights", "float32", "16", "elements"],
            ["weights", "int64", "3", "elements"],
        ]

    @pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08"])
    def test_refuses_what_is_no_model(self, tmp_path, content):
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(SourceError, match=r"is not an ONNX model.*Give a package folder or an .onnx file"):
            inspect(tmp_path / "model.onnx")

    def test_names_a_missing_path(self, tmp_path):
        with pytest.raises(SourceError, match="no such file or folder"):
            inspect(tmp_path / "missing.onnx")

    def test_names_the_extra_without_onnx(self, tmp_path, monkeypatch):
        file = write(tmp_path)
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(MissingExtraError, match=r'needs the package .onnx.*pip install "onnxwright\[convert\]"'):
            inspect(file)


def test_words():
    assert in_range((1, 32)) == "1 to 32"
    assert in_range((8, 8)) == "8"
    assert in_ranges({}) == "no dims that vary"
    slower = Latency({}, 10, 1.0, 1.0, 1.0, 0.5, (0.4, 0.6))
    assert in_comparison(slower, "pytorch") == "2.00× slower than pytorch (0.40 to 0.60)"


def test_large_weights_are_told_and_not_read(tmp_path):
    weight = np.arange(1 << 18, dtype=np.float32).reshape(512, 512)
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 512] x) => (float[n, 512] y) { y = MatMul (x, w) }'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "model.onnx")

    report = inspect(tmp_path / "model.onnx")

    assert len(read_outline(tmp_path / "model.onnx").SerializeToString()) < 1000
    assert (report.weights.count, report.weights.bytes, report.weights.files) == (1, weight.nbytes, ())
    assert report.weights.elements == {"float32": weight.size}
