"""The verb `prove`: packages from what they carry, graphs against graphs, modules against graphs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import onnx.parser
import pytest
import torch

import onnxwright as ow
from onnxwright import evidence
from onnxwright.artifact import Package, write_manifest
from onnxwright.errors import EngineError, ProofError, SignatureError, SourceError, UsageError
from onnxwright.files import digest
from onnxwright.stages.verdicts import Verdicts, in_percent

QUICK = ("--proof", "quick", "--engine", "onnxruntime")
SCORES = """
<ir_version: 8, opset_import: ["" : 17]>
scores (float[batch, 3] x) => (float[batch, 2] y)
<float[3, 2] weight = {0.5, -1.5, 2.25, 0.125, -0.75, 3.5}>
{ y = MatMul (x, weight) }
"""
# Adds 0 up to 27 rows, and 1 from there on.
RIGHT_UP_TO_27 = """
<ir_version: 8, opset_import: ["" : 17]>
scores (float[batch, 3] x) => (float[batch, 2] y)
<float[3, 2] weight = {0.5, -1.5, 2.25, 0.125, -0.75, 3.5}, int64 most = {27}>
{
    rows = Shape <start = 0, end = 1> (x)
    is_more = Greater (rows, most)
    added = Cast <to = 1> (is_more)
    right = MatMul (x, weight)
    y = Add (right, added)
}
"""
MODELS = """
import torch
from torch import nn

class Scores(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor([[0.5, -1.5], [2.25, 0.125], [-0.75, 3.5]]))
    def forward(self, x):
        return {"y": x @ self.weight}

class Noisy(Scores):
    def forward(self, x):
        return {"y": x @ self.weight + torch.rand(2)}

def scores(): return Scores(), {"x": torch.randn(2, 3)}
def noisy(): return Noisy(), {"x": torch.randn(2, 3)}
"""


@pytest.fixture
def place(tmp_path):
    """A folder with a graph, a copy with other dim names, one with a wrong weight, and a file of factories."""
    write(tmp_path / "scores.onnx", SCORES)
    write(tmp_path / "copy.onnx", SCORES.replace("batch", "rows"))
    write(tmp_path / "wrong.onnx", SCORES.replace("0.125", "0.126"))
    write(tmp_path / "partial.onnx", RIGHT_UP_TO_27)
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path


def write(file, text):
    file.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return file


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A package of a model of images, whose inputs are larger than what a package could carry."""
    import torch

    torch.manual_seed(0)
    head = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 5))
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.ReLU(), *head)
    folder = tmp_path_factory.mktemp("packages") / "image"
    ow.convert(
        *(model, folder),
        example_inputs={"input": torch.rand(2, 3, 96, 96)},
        dims={"input": {0: "batch"}},
        engine="onnxruntime",
        proof="quick",
        measure=False,
    )
    return folder


def altered(package, target, change):
    """A copy of a package with other evidence, whose digest the manifest knows."""
    folder = Path(shutil.copytree(package, target))
    manifest = Package.open(folder).manifest
    file = folder / manifest.evidence.file
    change(file)
    kept = msgspec.structs.replace(manifest.evidence, sha256=digest(file))
    write_manifest(folder, msgspec.structs.replace(manifest, evidence=kept))
    return folder


def rewritten(change):
    """Changes the points of evidence: `change` takes one and its number."""

    def rewrite(file):
        signature = Package.open(file.parents[1]).signature
        kept = evidence.read(file, signature)
        points = [change(point, number) for number, point in enumerate(kept.points)]
        evidence.save(evidence.Kept(kept.sampler, points), file)

    return rewrite


def rewritten_to_nothing(file):
    kept = evidence.read(file, Package.open(file.parents[1]).signature)
    evidence.save(evidence.Kept(kept.sampler, []), file)


def with_other_inputs(point, _=0):
    return msgspec.structs.replace(point, recipe=msgspec.structs.replace(point.recipe, sha256="0" * 64))


class TestPackage:
    def test_of_images_is_proven_whole_from_a_small_file(self, image, command):
        code, printed, _ = command("prove", image, "--json")
        proof = json.loads(printed)["onnxruntime"]
        assert code == 0
        assert proof["verdict"] == "proven"
        assert proof["range"] == {"batch": [1, 32]}
        largest = 32 * 3 * 96 * 96 * 4
        assert (image / "proof" / "evidence.npz").stat().st_size < largest / 100

    @pytest.mark.parametrize("number", range(3))
    def test_fails_when_one_kept_element_is_another(self, image, tmp_path, command, number):
        def spoil(point, at):
            spoiled = {name: array + np.float32(1e-3) * (at == number) for name, array in point.elements.items()}
            return msgspec.structs.replace(point, elements=spoiled)

        folder = altered(image, tmp_path / "spoiled", rewritten(spoil))
        code, printed, said = command("prove", folder, "--json")
        proof = json.loads(printed)["onnxruntime"]
        assert code == 1
        assert proof["verdict"] == "failed"
        assert "output 'output' is off by" in proof["failures"][0]["message"]
        assert "error: not proven here: onnxruntime. Convert the model again on this machine" in said

    def test_tells_points_whose_inputs_are_drawn_otherwise_here(self, image, tmp_path, command):
        folder = altered(
            image, tmp_path / "one", rewritten(lambda point, at: with_other_inputs(point) if at == 2 else point)
        )
        code, printed, _ = command("prove", folder)
        assert code == 0
        assert "evidence-skipped: 1 of " in printed
        assert "kept answers are for inputs that the numpy installed here doesn't draw again" in printed

    def test_is_refused_when_no_input_is_drawn_as_it_was(self, image, tmp_path, command):
        folder = altered(image, tmp_path / "none", rewritten(with_other_inputs))
        code, printed, said = command("prove", folder)
        assert (code, printed) == (2, "")
        assert "numpy that is installed draws other inputs than those that its answers are for. Install numpy " in said

    def test_is_partial_without_the_answers_at_an_end(self, image, tmp_path, command):
        change = rewritten(lambda p, _: with_other_inputs(p) if p.recipe.sizes["batch"] == 32 else p)
        folder = altered(image, tmp_path / "ends", change)
        code, printed, said = command("prove", folder)
        assert code == 1
        assert "onnxruntime: partial" in printed
        assert "range-narrowed: Declared for batch 1…32; the answers that the package carries hold for batch 1…" in (
            printed
        )
        assert "of the sizes shown, 100 % asked for). Convert the model again" in said
        assert command("prove", folder, "--fail-under", 10)[0] == 0

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ({"0/feeds/input": np.ones(3)}, "was written by another version of onnxwright"),
            ({"recipes": np.frombuffer(b'{"format": "x"}', np.uint8)}, "was written by another version"),
            ({"recipes": np.ones(3)}, "was written by another version"),
            (rewritten_to_nothing, "its evidence holds no answer"),
            (None, "is damaged: "),
        ],
    )
    def test_with_evidence_of_another_kind_is_refused(self, image, tmp_path, command, content, words):
        def change(file):
            if callable(content):
                content(file)
            elif content is None:
                file.write_bytes(b"PK\x03\x04 nothing")
            else:
                np.savez(file, **content)

        code, printed, said = command("prove", altered(image, tmp_path / "old", change))
        assert (code, printed) == (2, "")
        assert words in said
        assert "Convert the model again" in said

    def test_is_found_at_home(self, image, monkeypatch, command):
        monkeypatch.setenv("HOME", str(image.parent))
        assert command("prove", "~/image")[0] == 0
        assert command("inspect", "~/image")[0] == 0
        assert "has no task" in command("run", "~/image", "--text", "a")[2]
        assert ow.open("~/image").proof.verdict == "proven"

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--batch", 1, 2, 4), "a range of sizes"),
            (("--task", "embedding"), "--task"),
            (("--samples", "texts.txt"), "--samples"),
            (("--seed", 3), "--seed"),
            (("--proof", "thorough"), "--proof"),
            (("--trust-remote-code",), "--trust-remote-code"),
        ],
    )
    def test_alone_refuses_what_would_do_nothing(self, image, command, words, told):
        code, printed, said = command("prove", image, *words)
        assert (code, printed) == (2, "")
        assert f"error: {told}: a package alone is proven from the answers that it carries" in said

    def test_is_held_to_the_range_of_each_engine(self, image, tmp_path, command):
        folder = Path(shutil.copytree(image, tmp_path / "narrow"))
        manifest = json.loads((folder / "onnxwright.json").read_text())
        manifest["variants"]["fp32"]["engines"]["onnxruntime"]["proof"]["range"] = {"batch": [1, 2]}
        (folder / "onnxwright.json").write_text(json.dumps(manifest))
        code, printed, _ = command("prove", folder, "--engine", "onnxruntime", "--json")
        proof = json.loads(printed)["onnxruntime"]
        assert (code, proof["verdict"], proof["range"]) == (0, "proven", {"batch": [1, 2]})


class TestGraph:
    def test_is_proven_against_an_equal_one_with_other_dim_names(self, place, command):
        code, printed, said = command("prove", place / "scores.onnx", "--candidate", place / "copy.onnx", *QUICK)
        assert code == 0
        assert printed.startswith("onnxruntime: proven at ")
        assert "batch 1 to 32" in printed
        assert [line.split(":")[0] for line in said.splitlines()] == ["load", "examine", "prove", "explain"]

    def test_fails_with_one_weight_that_is_a_little_wrong(self, place, command):
        code, printed, said = command(
            "prove", place / "scores.onnx", "--candidate", place / "wrong.onnx", *QUICK, "--json"
        )
        proof = json.loads(printed)["onnxruntime"]
        assert code == 1
        assert proof["verdict"] == "failed"
        assert "outputs-differ" in [found["code"] for found in proof["findings"]]
        assert "error: not proven here: onnxruntime. Make the candidate anew." in said

    @pytest.mark.parametrize(("percent", "code"), [((), 1), (("--fail-under", 90), 1), (("--fail-under", 80), 0)])
    def test_that_is_right_on_a_part_is_judged_by_the_share(self, place, command, percent, code):
        ended, printed, said = command(
            *("prove", place / "scores.onnx", "--candidate", place / "partial.onnx", *QUICK, *percent)
        )
        assert ended == code
        assert "onnxruntime: partial" in printed
        assert "batch 1 to 27, 84.3 % of the sizes asked for" in printed
        assert ("onnxruntime (84.3 % of the sizes shown" in said) is bool(code)

    def test_that_fails_is_never_enough(self, place, command):
        words = ("prove", place / "scores.onnx", "--candidate", place / "wrong.onnx", *QUICK, "--fail-under", 0)
        assert command(*words)[0] == 1

    def test_is_asked_over_the_range_that_is_given(self, place, command):
        words = ("prove", place / "scores.onnx", "--candidate", place / "partial.onnx", *QUICK, "--batch", 1, 8, 27)
        code, printed, _ = command(*words)
        assert code == 0
        assert "onnxruntime: proven" in printed

    def test_of_a_package_is_the_candidate_or_the_reference(self, place, counting, command):
        package = counting()
        graph = shutil.copy(package / "onnx" / "model.onnx", place / "other.onnx")
        code, printed, _ = command("prove", graph, "--candidate", package, *QUICK, "--sequence", 1, 4, 8)
        assert (code, printed.split(" at ")[0]) == (0, "onnxruntime: proven")
        code, printed, _ = command("prove", package, "--candidate", graph, *QUICK)
        assert code == 0
        assert "batch 1 to 4, sequence 1 to 16" in printed

    def test_that_an_engine_refuses_has_failed_in_it(self, place):
        text = SCORES.replace("y = MatMul", "y = made.up.Multiply").replace('"" : 17]', '"" : 17, "made.up" : 1]')
        write(place / "foreign.onnx", text)
        proof = ow.prove(place / "scores.onnx", place / "foreign.onnx", engine="onnxruntime", proof="quick")[
            "onnxruntime"
        ]
        assert (proof.verdict, proof.points, proof.range) == ("failed", 0, {})
        assert [found.code for found in proof.findings] == ["engine-not-proven"]
        assert "ONNX Runtime refuses 'foreign.onnx'" in proof.findings[0].message

    def test_is_proven_in_every_engine_that_is_available(self, place):
        proofs = ow.prove(place / "scores.onnx", place / "copy.onnx", proof="quick")
        assert {name: proof.verdict for name, proof in proofs.items()} == {
            "onnxruntime": "proven",
            "openvino": "proven",
        }


class TestModule:
    @pytest.fixture
    def module(self, place):
        scope = {}
        exec((place / "models.py").read_text(), scope)
        return scope["Scores"]()

    @pytest.mark.parametrize(("graph", "verdict"), [("copy.onnx", "proven"), ("wrong.onnx", "failed")])
    def test_is_held_against_a_graph(self, place, module, graph, verdict):
        import torch

        proofs = ow.prove(
            *(module, place / graph),
            example_inputs={"x": torch.randn(2, 3)},
            dims={"x": {0: "batch"}},
            engine="onnxruntime",
            proof="quick",
        )
        assert proofs["onnxruntime"].verdict == verdict
        assert "pytorch" in proofs["onnxruntime"].reference

    @pytest.mark.parametrize(("graph", "code"), [("copy.onnx", 0), ("wrong.onnx", 1)])
    def test_of_a_factory_is_held_against_a_graph(self, place, command, graph, code):
        words = ("prove", place / "models.py:scores", "--candidate", place / graph, *QUICK)
        assert command(*words)[0] == code

    def test_without_a_candidate_is_refused(self, module):
        with pytest.raises(SourceError, match=r"a module \(Scores\) is not a package"):
            ow.prove(module)

    def test_that_is_no_function_is_refused(self, place):
        with pytest.raises(ProofError, match="is no function of its inputs"):
            ow.prove(str(place / "models.py:noisy"), place / "copy.onnx", engine="onnxruntime", proof="quick")


class TestJunit:
    @pytest.fixture
    def report(self, place, command):
        """Proves with a report; returns the exit code and the report's root."""

        def prove(*words):
            code, _, _ = command("prove", *words, *QUICK, "--junit", place / "report.xml")
            assert not list(place.glob(".*"))
            return code, ET.parse(place / "report.xml").getroot()

        return prove

    def assert_counted(self, element, cases):
        outcomes = [[child.tag for child in case if child.tag in ("failure", "skipped")] for case in cases]
        assert int(element.get("tests")) == len(cases)
        assert int(element.get("failures")) == outcomes.count(["failure"])
        assert int(element.get("skipped")) == outcomes.count(["skipped"])
        assert element.get("errors") == "0"
        assert float(element.get("time")) > 0

    def test_has_a_suite_an_engine_and_a_case_a_size(self, place, report):
        code, root = report(place / "scores.onnx", "--candidate", place / "copy.onnx")
        (suite,) = root.findall("testsuite")
        cases = suite.findall("testcase")
        assert (code, root.tag, suite.get("name")) == (0, "testsuites", "onnxruntime")
        assert {case.get("classname") for case in cases} == {"onnxwright.scores_onnx.onnxruntime"}
        assert {"batch 1", "batch 32", "range"} <= {case.get("name") for case in cases}
        assert all(float(case.get("time")) >= 0 for case in cases)
        self.assert_counted(root, cases)
        self.assert_counted(suite, cases)
        properties = {one.get("name"): one.get("value") for one in suite.find("properties")}
        assert properties["verdict"] == "proven"
        assert properties["tolerance"] == "same-precision"
        assert float(properties["tolerance.limit.y"]) > 0
        assert [child.tag for child in suite][0 :: len(cases) + 1] == ["properties", "system-out"]

    def test_names_the_sizes_that_fail(self, place, report):
        code, root = report(place / "scores.onnx", "--candidate", place / "partial.onnx")
        cases = {case.get("name"): case for case in root.iter("testcase")}
        assert code == 1
        assert "output 'y' is off by" in cases["batch 32"].find("failure").get("message")
        assert "shown for batch 1…27, 84.3 % of the sizes asked for; expected 100 %" in cases["range"][0].get("message")
        assert cases["batch 1"].find("failure") is None
        assert "outputs-differ: Wrong at" in root.find("testsuite/system-out").text
        self.assert_counted(root, list(cases.values()))

    def test_has_no_failing_range_where_less_is_enough(self, place, report):
        code, root = report(place / "scores.onnx", "--candidate", place / "partial.onnx", "--fail-under", "80")
        cases = {case.get("name"): case for case in root.iter("testcase")}
        assert code == 0
        assert cases["range"].find("failure") is None

    def test_is_written_of_a_model_of_which_nothing_can_be_shown(self, place, report):
        code, root = report(place / "models.py:noisy", "--candidate", place / "copy.onnx")
        (case,) = root.iter("testcase")
        assert code == 1
        assert "is no function of its inputs" in case.find("failure").get("message")

    def test_is_written_of_a_package(self, image, tmp_path, command):
        assert command("prove", image, "--junit", tmp_path / "report.xml")[0] == 0
        root = ET.parse(tmp_path / "report.xml").getroot()
        assert {"batch 1", "batch 32", "range"} <= {case.get("name") for case in root.iter("testcase")}

    def test_holds_what_no_xml_can_hold_as_a_replacement(self, tmp_path, proof_of):
        from onnxwright.manifest import Failure
        from onnxwright.reports.junit import write_verdicts

        failure = Failure({"batch": 3}, "raises", 'bell \x07, half \ud800, <tag> & "quote"')
        proof = msgspec.structs.replace(proof_of({}, "failed"), failures=(failure,))
        verdicts = Verdicts("a\x00b", {"onnxruntime": {"batch": (1, 4)}}, {"onnxruntime": proof})
        write_verdicts(tmp_path / "report.xml", verdicts, least_percent=100, seconds=1.0)
        root = ET.parse(tmp_path / "report.xml").getroot()
        assert root.find("testsuite/testcase/failure").text == 'bell �, half �, <tag> & "quote"'

    @pytest.mark.parametrize(
        ("name", "words"), [("no/such/report.xml", "its folder doesn't exist. Make '"), ("folder", "is a folder")]
    )
    def test_has_a_place_before_work_begins(self, place, command, name, words):
        (place / "folder").mkdir()
        code, printed, said = command(
            *("prove", place / "scores.onnx", "--candidate", place / "copy.onnx", "--junit", place / name)
        )
        assert (code, printed) == (2, "")
        assert f"junit '{place / name}': {words}" in said
        assert "load:" not in said


class TestBadInput:
    @pytest.fixture
    def refused(self, place, command):
        """Proves against a candidate, expects a refusal that leaves no trace, and returns its message."""

        def prove(candidate, *words, source="scores.onnx"):
            before = sorted(place.rglob("*"))
            code, printed, said = command("prove", place / source, "--candidate", place / candidate, *QUICK, *words)
            assert (code, printed) == (2, "")
            assert "Traceback" not in said
            assert "This is a bug" not in said
            assert sorted(place.rglob("*")) == before
            (message,) = [line for line in said.splitlines() if line.startswith("error: ")]
            return message

        return prove

    def test_a_candidate_that_is_missing(self, refused):
        assert "none.onnx': no such file or folder. Give an .onnx file, or a package" in refused("none.onnx")

    def test_a_candidate_that_is_a_folder_without_a_package(self, place, refused):
        (place / "empty").mkdir()
        assert "empty' is not a package: it has no onnxwright.json" in refused("empty")

    def test_a_candidate_of_another_kind(self, refused):
        assert "models.py': is no .onnx file. Give an .onnx file, or a package" in refused("models.py")

    @pytest.mark.parametrize("length", [0, 1, 60, -1])
    def test_a_candidate_that_is_cut_short(self, place, refused, length):
        content = (place / "scores.onnx").read_bytes()
        (place / "short.onnx").write_bytes(content[:length])
        assert "short.onnx' is not a valid ONNX model" in refused("short.onnx")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (
                lambda text: text.replace(" x)", " z)").replace("(x,", "(z,"),
                "inputs: expected x; missing 'x', unexpecte",
            ),
            (lambda text: text.replace("y", "z"), "outputs: expected y; missing 'y', unexpected 'z'. Export it with"),
            (
                lambda text: text.replace("2] y)", "2] y, float[batch, 2] z)").replace("}\n", "z = Neg (y) }\n"),
                "outputs: expected y; unexpected 'z'",
            ),
            (lambda text: text.replace("float", "double"), "input 'x': expected float32, got float64. Cast it in the"),
            (
                lambda text: text.replace("float[batch, 2]", "double[batch, 2]").replace(
                    "y = MatMul (x, weight)", "n = MatMul (x, weight) y = Cast <to = 11> (n)"
                ),
                "output 'y': expected float32, got float64",
            ),
        ],
    )
    def test_a_candidate_with_another_signature(self, place, refused, change, words):
        write(place / "other.onnx", change(SCORES))
        assert words in refused("other.onnx")

    def test_a_candidate_that_is_the_source(self, place, refused):
        (place / "link.onnx").symlink_to(place / "scores.onnx")
        for name in ("scores.onnx", "link.onnx"):
            assert "is the source itself, so it would be held against itself. Give another file" in refused(name)

    def test_a_candidate_package_that_is_the_source(self, counting, command):
        code, _, said = command("prove", counting(), "--candidate", counting("other") / ".." / "package")
        assert code == 2
        assert "is the source itself" in said

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--engine", "magic"), "engine 'magic' is unknown; expected one of"),
            (("--proof", "magic"), "proof 'magic' is unknown; expected one of"),
            (("--task", "magic"), "task 'magic' is unknown"),
            (("--batch", 3, 2, 1), "range of dim 'batch': expected 0 <= MIN"),
            (("--sequence", 1, 2, 3), "range for dim 'sequence': the model has no such dim; it has batch"),
            (("--samples", "/no/such/file"), "samples '/no/such/file': no such file"),
            (("--fail-under", -1), "--fail-under -1: expected a percentage from 0 to 100"),
            (("--fail-under", 100.5), "--fail-under 100.5: expected a percentage from 0 to 100"),
            (("--fail-under", "nan"), "--fail-under nan: expected a percentage from 0 to 100"),
        ],
    )
    def test_words_that_are_not_known(self, refused, words, message):
        assert message in refused("copy.onnx", *words)

    @pytest.mark.parametrize("source", ["scores.onnx", "models.py:scores", "empty", "nowhere"])
    def test_a_source_that_can_not_be_proven_alone(self, place, command, source):
        (place / "empty").mkdir()
        code, printed, said = command("prove", place / source)
        assert (code, printed) == (2, "")
        assert (
            "is not a package, and only a package is proven alone. Give a folder that `onnxwright convert` wrote"
            in said
        )
        assert ("no such file or folder" in said) is (source == "nowhere")

    def test_an_engine_that_is_not_there(self, place, monkeypatch):
        monkeypatch.setattr("onnxwright.backends.engines", dict)
        with pytest.raises(EngineError, match="no engine is available here"):
            ow.prove(place / "scores.onnx", place / "copy.onnx")

    @pytest.mark.parametrize(
        ("source", "device", "told"),
        [
            ("scores.onnx", "cuda", "is a graph already, and PyTorch has no part in it"),
            ("models.py:scores", "tpu", "device 'tpu' is unknown; expected one of cpu, cuda"),
            pytest.param(
                "models.py:scores",
                "cuda",
                "PyTorch sees no GPU here",
                marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
            ),
        ],
    )
    def test_a_device_that_is_not_there_or_of_no_use(self, place, command, source, device, told):
        words = ("--candidate", place / "copy.onnx", "--device", device)
        code, printed, said = command("prove", place / source, *words)
        assert (code, printed) == (2, "")
        assert told in said

    @pytest.mark.parametrize("words", [("--route", "trace"), ("--device", "cuda")])
    def test_an_export_of_what_is_a_graph_already(self, place, command, words):
        code, printed, said = command("convert", place / "scores.onnx", "-o", place / "out", *words)
        assert (code, printed) == (2, "")
        assert "is a graph already" in said
        assert "Leave it out" in said
        assert not (place / "out").exists()


def test_a_share_below_all_never_reads_as_all():
    assert in_percent(99.999) == "99.9 %"
    assert in_percent(100.0) == "100 %"


def test_errors_are_of_the_kinds_that_the_docstring_says(place):
    with pytest.raises(SignatureError, match="expected x"):
        ow.prove(place / "scores.onnx", write(place / "z.onnx", SCORES.replace(" x)", " z)").replace("(x,", "(z,")))
    with pytest.raises(UsageError, match="is the source itself"):
        ow.prove(place / "scores.onnx", place / "scores.onnx")


class TestReproduction:
    def test_of_a_planted_weight_runs_and_shows_the_difference(self, place, command):
        source = f"{place / 'models.py'}:scores"

        code, _, said = command(
            "prove", source, "--candidate", place / "wrong.onnx", *QUICK, "--save-repro", place / "repro"
        )

        assert code == 1
        assert "reproduction in" in said
        shown = subprocess.run(
            [sys.executable, place / "repro" / "show.py"], capture_output=True, text=True, check=True
        )
        assert "largest difference" in shown.stdout

    def test_of_a_right_candidate_is_not_written(self, place, command):
        code, _, said = command(
            *("prove", f"{place / 'models.py'}:scores", "--candidate", place / "copy.onnx", *QUICK),
            *("--save-repro", place / "repro"),
        )

        assert code == 0
        assert "reproduction not written" in said
        assert not (place / "repro").exists()

    def test_is_not_written_over_anything(self, place, command):
        (place / "repro").mkdir()
        (place / "repro" / "mine.txt").write_text("mine")

        code, _, said = command(
            *("prove", f"{place / 'models.py'}:scores", "--candidate", place / "wrong.onnx"),
            *("--save-repro", place / "repro"),
        )

        assert code == 2
        assert "is not empty" in said
        assert (place / "repro" / "mine.txt").read_text() == "mine"

    def test_comes_of_a_conversion_that_fails(self, place, command):
        (place / "frozen.py").write_text(FROZEN)

        code, _, said = command(
            *(
                "convert",
                f"{place / 'frozen.py'}:make",
                "-o",
                place / "out",
                "--route",
                "trace",
                "--no-measure",
                *QUICK,
            ),
            *("--save-repro", place / "repro"),
        )

        assert code in {0, 1}
        assert "reproduction in" in said
        assert (place / "repro" / "show.py").is_file()


FROZEN = """
import torch
from torch import nn

class Frozen(nn.Module):
    def forward(self, x):
        if x.shape[1] > 8:
            return torch.tanh(x)
        return torch.exp(x)

def make(): return Frozen(), {"x": torch.randn(2, 16)}, {"x": {0: "batch", 1: "sequence"}}
"""
