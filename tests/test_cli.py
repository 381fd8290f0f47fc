"""The command line: what it prints, where, and with which exit code."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cases.places import open_to_all

from onnxwright.artifact import Package, write_manifest
from onnxwright.files import digest

COMMAND = str(Path(sys.executable).with_name("onnxwright"))
QUICK = ("--proof", "quick", "--no-measure", "--engine", "onnxruntime")


@pytest.fixture(scope="session")
def model(tmp_path_factory, minilm):
    """A small classifier of texts with three labels."""
    import torch
    import transformers

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    labels = {0: "bad", 1: "so-so", 2: "good"}
    config = transformers.BertConfig(**small, vocab_size=30522, max_position_embeddings=40, id2label=labels)
    folder = tmp_path_factory.mktemp("models") / "classifier"
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(minilm / file, folder)
    return folder


@pytest.fixture(scope="session")
def converted(model):
    """The package of the small classifier, and the process that made it, which wrote JSON."""
    words = ["convert", model, "-o", model.parent / "package", *QUICK, "--batch", "1", "2", "4", "--json"]
    return model.parent / "package", subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)


class TestConvert:
    def test_ends_with_one_document_and_says_its_stages_on_stderr(self, converted):
        package, ended = converted
        document = json.loads(ended.stdout)
        assert ended.returncode == 0
        assert document["package"] == str(package)
        assert document["proof"]["verdict"] == "proven"
        assert document["proof"]["range"] == {"batch": [1, 4], "sequence": [1, 40]}
        assert document == {"package": str(package), **json.loads((package / "onnxwright.json").read_text())}
        said = [line.split(":")[0] for line in ended.stderr.splitlines() if not line.startswith(" ")]
        assert said == ["load", "examine", "trace@18", "package"]

    def test_ends_with_a_page_for_people(self, tmp_path, command):
        (tmp_path / "own.py").write_text("import torch\ndef make(): return torch.nn.Linear(3, 2), torch.randn(2, 3)\n")
        code, printed, said = command("convert", tmp_path / "own.py:make", "-o", tmp_path / "out", *QUICK)
        assert code == 0
        rows = dict(line.split(maxsplit=1) for line in reversed(printed.splitlines()) if " " in line)
        assert rows["verdict"] == "proven"
        assert rows["range"] == "batch 1 to 32"
        assert "inputs: input float32[batch, 3]" in said

    def test_tells_findings_of_the_source(self, tmp_path, command):
        lines = [
            "import torch",
            "class Counts(torch.nn.Module):",
            "  def forward(self, x): return {'y': x * 2, 'n': 3}",
        ]
        lines += ["def make(): return Counts(), torch.randn(2, 3)", ""]
        (tmp_path / "own.py").write_text("\n".join(lines))
        code, printed, said = command("convert", tmp_path / "own.py:make", "-o", tmp_path / "out", *QUICK, "--json")
        assert code == 0
        assert "Output 'n' is left out, being of type int" in " ".join(said.split())
        assert [found["code"] for found in json.loads(printed)["findings"]] == ["skipped-output"]

    def test_takes_ranges_by_name(self, tmp_path, command):
        body = "def make(): return torch.nn.ReLU(), torch.randn(2, 3), {'input': {0: 'rows', 1: 'width'}}"
        (tmp_path / "own.py").write_text(f"import torch\n{body}\n")
        ranges = ("--dim", "rows=1:2:3", "--dim", "width=2:4:8")
        code, printed, _ = command(
            "convert", tmp_path / "own.py:make", "-o", tmp_path / "out", *QUICK, *ranges, "--json"
        )
        assert code == 0
        assert json.loads(printed)["profile"] == {"rows": [1, 2, 3], "width": [2, 4, 8]}


class TestRun:
    def test_answers_each_text_with_a_line(self, converted, command):
        code, printed, said = command("run", converted[0], "--text", "first text", "--text", "second")
        answers = [json.loads(line) for line in printed.splitlines()]
        assert (code, said) == (0, "")
        assert [{row["label"] for row in found["answer"]} for found in answers] == [{"bad", "so-so", "good"}] * 2

    def test_answers_with_one_document(self, converted, command):
        _, lines, _ = command("run", converted[0], "--text", "first text", "--text", "second")
        _, printed, _ = command("run", converted[0], "--text", "first text", "--text", "second", "--json")
        assert json.loads(printed) == [json.loads(line) for line in lines.splitlines()]

    def test_answers_the_lines_of_a_file(self, converted, command, tmp_path):
        (tmp_path / "texts.txt").write_text("first text\nsecond\n")
        _, printed, _ = command("run", converted[0], "--file", tmp_path / "texts.txt")
        assert printed == command("run", converted[0], "--text", "first text", "--text", "second")[1]

    def test_answers_pairs(self, converted, command, tmp_path):
        (tmp_path / "pairs.jsonl").write_text('["a question", "its context"]\n')
        _, printed, _ = command("run", converted[0], "--file", tmp_path / "pairs.jsonl")
        assert printed == command("run", converted[0], "--text", "a question", "--text-pair", "its context")[1]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ((), "texts: expected --text or --file, got neither"),
            (("--text", "a", "--file", "b"), "texts: expected --text or --file, got both"),
            (
                ("--text", "a", "--text-pair", "b", "--text-pair", "c"),
                "--text-pair: expected one for each --text, got 2",
            ),
            (("--file", "/no/such/file"), "file '/no/such/file': no such file"),
            (("--text", "a", "--engine", "magic"), "engine 'magic'"),
            (("--text", "a", "--batch-size", 99), "99"),
        ],
    )
    def test_refuses_what_it_can_not_answer(self, converted, command, words, message):
        code, printed, said = command("run", converted[0], *words)
        assert (code, printed) == (2, "")
        assert message in said


class TestProve:
    def test_proves_again(self, converted, command):
        code, printed, _ = command("prove", converted[0])
        assert code == 0
        assert printed.startswith("onnxruntime: proven at ")
        code, printed, _ = command("prove", converted[0], "--json")
        assert code == 0
        assert json.loads(printed)["onnxruntime"]["verdict"] == "proven"

    @pytest.fixture
    def wrong(self, converted, tmp_path):
        """A package whose graph is whole, but doesn't answer as its evidence says."""
        folder = Path(shutil.copytree(converted[0], tmp_path / "wrong"))
        manifest = Package.open(folder).manifest
        file = folder / manifest.evidence.file
        with np.load(file) as saved:
            arrays = {name: array + 1 if "logits" in name else array for name, array in saved.items()}
        np.savez(file, **arrays)
        kept = msgspec.structs.replace(manifest.evidence, sha256=digest(file))
        write_manifest(folder, msgspec.structs.replace(manifest, evidence=kept))
        return folder

    def test_fails_where_the_graph_answers_otherwise(self, wrong, command):
        code, printed, said = command("prove", wrong)
        assert code == 1
        assert "onnxruntime: failed" in printed
        assert "error: not proven here: onnxruntime. Convert the model again on this machine." in said
        code, printed, _ = command("prove", wrong, "--json")
        assert code == 1
        assert json.loads(printed)["onnxruntime"]["verdict"] == "failed"


class TestInspect:
    def test_shows_a_package_and_a_graph(self, converted, command):
        for path in (converted[0], converted[0] / "onnx" / "model.onnx"):
            code, printed, _ = command("inspect", path)
            assert code == 0
            assert "logits" in printed
            assert isinstance(json.loads(command("inspect", path, "--json")[1]), dict)

    def test_refuses_what_is_neither(self, tmp_path, command):
        code, printed, said = command("inspect", tmp_path)
        assert (code, printed) == (2, "")
        assert said.startswith("error: ")


class TestHelp:
    def test_names_the_commands_and_exit_codes(self, command):
        code, printed, _ = command("--help")
        assert code == 0
        assert all(name in printed for name in ("convert", "prove", "run", "inspect", "Exit codes: 0 done and proven"))

    def test_is_shown_where_nothing_is_asked(self, command):
        code, printed, said = command()
        assert (code, printed) == (2, "")
        assert "Commands:" in said
        assert "error:" not in said.lower()

    @pytest.mark.parametrize("name", ["convert", "prove", "run", "inspect"])
    def test_of_a_command_says_what_each_option_is(self, command, name):
        code, printed, _ = command(name, "--help")
        assert code == 0
        assert "--json" in printed

    def test_version(self, command):
        assert command("--version") == (0, importlib.metadata.version("onnxwright") + "\n", "")

    def test_a_mistyped_call_is_told_with_its_usage(self, command):
        code, printed, said = command("convert", "--frob")
        assert (code, printed) == (2, "")
        assert "Usage: onnxwright convert" in said
        assert "No such option: --frob" in said


def test_a_reader_that_stops_early_is_no_bug(converted, tmp_path):
    (tmp_path / "texts.txt").write_text("text\n" * 20_000)
    words = [COMMAND, "run", str(converted[0]), "--file", str(tmp_path / "texts.txt")]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    running.stdout.readline()
    running.stdout.close()
    said = running.stderr.read().decode()
    running.stderr.close()
    running.wait(timeout=120)
    assert "Traceback" not in said
    assert "bug" not in said


def test_files_that_may_not_be_read_are_no_bug(tmp_path, command):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "config.json").chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        tmp_path.chmod(0o777)
        open_to_all(tmp_path)
        os.seteuid(65534)
    try:
        code, _, said = command("convert", folder, "-o", tmp_path / "out", *QUICK)
    finally:
        if is_root:
            os.seteuid(0)
    assert code == 2
    assert f"error: '{folder / 'config.json'}': Permission denied. Check that it is there" in said


def test_a_module_that_exits_for_some_sizes_only_is_no_success(tmp_path):
    (tmp_path / "models.py").write_text(
        "import sys, torch\n"
        "class Leaving(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        if x.shape[0] > 20: sys.exit(0)\n"
        "        return x * 2.0\n"
        "def make(): return Leaving(), {'x': torch.randn(2, 3)}\n"
    )
    words = [COMMAND, "convert", f"{tmp_path / 'models.py'}:make", "-o", tmp_path / "out", "--no-measure"]

    ended = subprocess.run([*words, "--proof", "quick"], capture_output=True, text=True, check=False)

    assert (ended.returncode == 0) == (tmp_path / "out").exists()
    assert "20" in ended.stdout + ended.stderr
