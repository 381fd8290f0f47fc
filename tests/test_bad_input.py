"""What a user can get wrong, through the command line: a clear message, the right exit code, nothing left behind."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from cases.places import open_to_all

COMMAND = str(Path(sys.executable).with_name("onnxwright"))
QUICK = ("--proof", "quick", "--no-measure", "--engine", "onnxruntime")
MODELS = """
import time
import torch
from torch import nn

class Double(nn.Module):
    def forward(self, x):
        return x * 2

class Raises(nn.Module):
    def forward(self, x):
        raise ValueError("no luck")

class Exits(nn.Module):
    def forward(self, x):
        raise SystemExit(0)

class Broken(nn.Linear):
    def __init__(self):
        super().__init__(3, 3)
        self.weight.data[1] = float("nan")

class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)

class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.02)
        return x * 2

class Branching(nn.Module):
    def forward(self, x):
        return x * 2 if x.shape[1] > 2 else x - 1

class Pair(nn.Module):
    def forward(self, x, y):
        return x + y

x = torch.randn(2, 3)
def double(): return Double(), {"x": x}, {"x": {0: "batch", 1: "width"}}
def raises(): return Raises(), {"x": x}
def exits(): return Exits(), {"x": x}
def broken(): return Broken(), {"input": x}
def wide(): return nn.Linear(300, 300), {"input": torch.randn(2, 300)}
def noisy(): return Noisy(), {"x": x}
def branching(): return Branching(), {"x": x}, {"x": {0: "batch", 1: "width"}}
def slow(): return Slow(), {"x": x}
def misnamed(): return Double(), {"z": x}
def missing(): return Pair(), {"x": x}
def number(): return Double(), {"x": 3.0}
def nothing(): return Double(), {}
def hollow(): return Double(), {"x": x[:, :0]}
def clashing(): return Pair(), {"x": x, "y": x[:1]}, {"x": {0: "rows"}, "y": {0: "rows"}}
def unknown_input(): return Double(), {"x": x}, {"z": {0: "rows"}}
def unknown_axis(): return Double(), {"x": x}, {"x": {2: "rows"}}
def fails(): raise ValueError("no luck")
def nonsense(): return "nonsense"
"""


def snapshot(folder):
    """Every path below a folder, hidden ones too, with what is in it."""
    paths = sorted(folder.rglob("*"))
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in paths
    }


@pytest.fixture
def place(tmp_path):
    """A folder with a file of factories in it."""
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path


@pytest.fixture
def refused(place, command):
    """Converts, expects a failure, and returns its message; whatever lies in the place stays as it was."""

    def convert(source, *options, code, out="out"):
        before = snapshot(place)
        given = source if isinstance(source, str) and not source.startswith("models.py") else place / source
        ended, printed, said = command("convert", given, "-o", place / out, *QUICK, *options)
        assert (ended, printed) == (code, "")
        assert "Traceback" not in said
        assert snapshot(place) == before
        (message,) = [line for line in said.split("\n") if line.startswith("error: ")]
        return message

    return convert


@pytest.fixture(scope="session")
def classifier(tmp_path_factory, minilm):
    """A small classifier as a model folder; tests copy it."""
    import torch
    import transformers

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(**small, vocab_size=30522, num_labels=3)
    folder = tmp_path_factory.mktemp("models") / "classifier"
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(minilm / file, folder)
    return folder


@pytest.fixture
def model(place, classifier):
    """A copy of the small classifier, to be damaged."""
    return Path(shutil.copytree(classifier, place / "model"))


def damage(file, change):
    content = bytearray(file.read_bytes())
    file.write_bytes(bytes(change(content)))


def flipped(content):
    content[9] ^= 0x20
    return content


class TestSource:
    @pytest.mark.parametrize(
        ("source", "words"),
        [
            (
                "/no/such/folder",
                "source '/no/such/folder': no such file or folder. Expected a folder, a hub id, path/to",
            ),
            ("", "source: is empty"),
            ("~/no-such-folder", "source '~/no-such-folder': no such file or folder"),
            (r"C:\models\bert", r"source 'C:\models\bert': no such file or folder"),
            ("/no/such/model.onnx", "source '/no/such/model.onnx': no such file"),
            ("/no/such/file.py:make", "factory '/no/such/file.py:make': no such file"),
        ],
    )
    def test_that_is_nowhere(self, refused, source, words):
        assert words in refused(source, code=2)

    def test_that_is_a_folder_without_a_model(self, place, refused):
        (place / "empty").mkdir()
        empty = str(place / "empty")
        assert "empty' is empty; expected a Hugging Face model folder" in refused(empty, code=2)
        (place / "empty" / "notes.txt").write_text("text")
        assert "has no config.json; expected a Hugging Face model folder" in refused(empty, code=2)

    def test_that_is_a_hub_id_out_of_reach(self, place, tmp_path_factory):
        # The hub client reads its address when it is imported, so this is a process of its own.
        environment = {
            **os.environ,
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "HF_HOME": str(tmp_path_factory.mktemp("hub")),
        }
        command = [COMMAND, "convert", "nobody/nothing", "-o", str(place / "out")]
        started = time.monotonic()
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert time.monotonic() - started < 20
        assert ended.returncode == 2
        assert (
            "'nobody/nothing': no such file or folder, and no model could be fetched by that hub id (" in ended.stderr
        )
        assert "Check the name and the network" in ended.stderr
        assert sorted(path.name for path in place.iterdir()) == ["models.py"]


class TestModelFolder:
    def test_without_weights(self, model, refused):
        (model / "model.safetensors").unlink()
        assert "has no weights; expected model.safetensors or pytorch_model.bin" in refused(str(model), code=2)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("{", "config.json' is not JSON"),
            ("[]", "config.json': expected a JSON object, got list"),
            ('{"model_type": "made-up"}', "config.json' can't be read by transformers"),
            ("{}", "config.json' can't be read by transformers"),
            ('{"model_type": "bert", "hidden_size": "wide"}', "config.json' can't be read by transformers"),
            (
                '{"auto_map": {}, "model_type": "made-up"}',
                "needs Python code of its own (auto_map). Read it, then pass",
            ),
            (
                '{"model_type": "bert", "architectures": ["Made"]}',
                "no task is known for the architecture 'Made'; pass --",
            ),
        ],
    )
    def test_with_a_config_of_another_kind(self, model, refused, content, words):
        (model / "config.json").write_text(content)
        assert words in refused(str(model), code=2)

    @pytest.mark.parametrize(
        "change",
        [
            lambda content: content[: len(content) // 2],
            lambda content: content[:-1],
            lambda content: content[:4],
            lambda content: b"",
            flipped,
            lambda content: b"\xff" * 8 + content[8:],
        ],
    )
    def test_with_damaged_weights(self, model, refused, change):
        damage(model / "model.safetensors", change)
        message = refused(str(model), code=2)
        assert "model.safetensors' is damaged: " in message
        assert "Fetch it again" in message

    def test_with_a_tokenizer_that_is_damaged(self, model, refused):
        damage(model / "tokenizer.json", lambda content: content[:1000])
        assert f"the tokenizer in '{model}' can't be loaded: " in refused(str(model), code=2)

    @pytest.mark.parametrize("is_archive", [True, False])
    def test_with_a_pickle_that_would_run_code(self, model, refused, place, is_archive):
        import torch

        class Bomb:
            def __reduce__(self):
                return os.system, (f"touch {place / 'ran'}",)

        (model / "model.safetensors").unlink()
        file = model / "pytorch_model.bin"
        torch.save({"classifier.bias": Bomb()}, file, _use_new_zipfile_serialization=is_archive)
        message = refused(str(model), code=2)
        assert f"the pickled weights in '{model}' are not plain tensors: they hold 'posix.system', code that" in message
        assert "Fetch them again, or have whoever made them save them as safetensors" in message
        assert not (place / "ran").exists()
        torch.load(file, weights_only=False)
        assert (place / "ran").exists(), "the pickle is one that runs code where it is trusted"

    def test_with_a_pickle_that_is_damaged(self, model, refused):
        (model / "model.safetensors").unlink()
        (model / "pytorch_model.bin").write_bytes(b"garbage")
        assert "are not plain tensors: they are damaged. Fetch them again" in refused(str(model), code=2)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda w: w.pop("classifier.bias"), "no weights for classifier.bias; the layers would be random"),
            (lambda w: w.update({"extra.weight": w["classifier.bias"] + 1}), "has no place for extra.weight"),
            (
                lambda w: w.update({"classifier.bias": w["classifier.weight"][0] + 1}),
                "weights of another shape than config.json says: classifier.bias [16] instead of [3]",
            ),
            (lambda w: w["classifier.bias"].fill_(float("nan")), "NaN in classifier.bias"),
        ],
    )
    def test_with_weights_of_another_model(self, model, refused, change, words):
        from safetensors.torch import load_file, save_file

        weights = load_file(model / "model.safetensors")
        change(weights)
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
        assert words in refused(str(model), code=1)

    def test_with_another_task(self, model, refused):
        message = refused(str(model), "--task", "question-answering", code=1)
        assert "no weights for qa_outputs.bias, qa_outputs.weight; the layers would be random" in message
        assert "Choose the task that it was trained for with --task" in message
        assert "task 'magic' is unknown; expected one of classification" in refused(
            str(model), "--task", "magic", code=2
        )


class TestFactory:
    @pytest.mark.parametrize(
        ("factory", "code", "words"),
        [
            ("fails", 2, "models.py:fails' raised ValueError at"),
            (
                "nonsense",
                2,
                "expected it to return (module, example_inputs) or (module, example_inputs, dims), got str",
            ),
            ("absent", 2, "factory 'absent': 'models.py' has no such callable; expected for example"),
            ("raises", 1, "the module can't be run on its example inputs: ValueError at"),
            ("exits", 1, "the module can't be run on its example inputs: SystemExit at"),
            ("broken", 1, "NaN in weight. The checkpoint is damaged, or training has diverged"),
            ("noisy", 1, "is no function of its inputs"),
            ("misnamed", 2, "example input 'z': forward has no such argument; expected one of x"),
            ("missing", 2, "forward needs 'y', got x. Add it"),
            ("number", 2, "example input 'x': expected a tensor, got float. Wrap a number"),
            ("nothing", 2, "forward needs 'x', got nothing"),
            ("hollow", 2, "example input 'x': has no elements (shape [2, 0])"),
            ("clashing", 2, "dim 'rows': is 2 in 'x' and 1 in 'y'. Give the two axes names of their own"),
            ("unknown_input", 2, "dims: 'z' is not an input; expected one of x"),
            ("unknown_axis", 2, "dims of 'x': there is no axis 2; the input has 2 axes"),
        ],
    )
    def test_that_fails(self, refused, factory, code, words):
        assert words in refused(f"models.py:{factory}", code=code)

    def test_that_is_not_python(self, place, refused):
        (place / "models.py").write_text("def make(:\n")
        assert "'models.py' is not valid Python: invalid syntax at models.py:1" in refused("models.py:make", code=2)

    def test_that_fails_shows_its_own_traceback_with_debug(self, place):
        command = [COMMAND, "--debug", "convert", "models.py:fails", "-o", "out"]
        ended = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 2
        assert 'raise ValueError("no luck")' in ended.stderr
        assert "error: factory 'models.py:fails' raised ValueError" in ended.stderr
        assert not (place / "out").exists()


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                ("--batch", 4, 2, 1),
                "range of dim 'batch': expected 0 <= MIN <= OPT <= MAX and OPT at least 1, got 4, 2, 1",
            ),
            (("--batch", -1, 2, 4), "range of dim 'batch': expected 0 <= MIN <= OPT <= MAX"),
            (("--batch", 0, 0, 0), "range of dim 'batch': expected 0 <= MIN <= OPT <= MAX and OPT at least 1"),
            (("--sequence", 1, 2, 3), "range for dim 'sequence': the model has no such dim; it has batch, width"),
            (("--dim", "height=1:2:3"), "range for dim 'height': the model has no such dim; it has batch, width"),
            (("--dim", "width=3:2:1"), "range of dim 'width': expected 0 <= MIN <= OPT <= MAX"),
            (("--dim", "width=1:2"), "--dim 'width=1:2': expected NAME=MIN:OPT:MAX"),
            (("--dim", "width"), "--dim 'width': expected NAME=MIN:OPT:MAX"),
            (("--dim", "width=a:b:c"), "--dim 'width=a:b:c': expected NAME=MIN:OPT:MAX"),
            (("--dim", "batch=1:2:3", "--batch", 1, 2, 3), "dim 'batch' has a range already. Give each dim once"),
            (("--task", "magic"), "task 'magic' is unknown; expected one of classification, embedding"),
            (("--task", "embedding"), "task 'embedding': expected with a Hugging Face model"),
            (("--engine", "magic"), "engine 'magic' is unknown; expected one of"),
            (("--route", "magic"), "route 'magic' is unknown; expected one of auto, dynamo, script, trace"),
            (("--precision", "int3"), "precision 'int3' is unknown; expected for example int8, int4-"),
            (("--device", "tpu"), "device 'tpu' is unknown; expected one of cpu, cuda"),
            (("--proof", "magic"), "proof 'magic' is unknown; expected one of"),
            (("--opset", 3), "opset 3: no route writes it; expected one of: trace 9 to"),
            (("--opset", 99), "opset 99: no route writes it"),
            (("--opset", 9, "--route", "dynamo"), "opset 9: route 'dynamo' writes opsets 18 to"),
            (("--samples", "/no/such/file"), "samples '/no/such/file': no such file"),
        ],
    )
    def test_that_are_not_known(self, refused, options, words):
        assert words in refused("models.py:double", *options, code=2)

    def test_of_a_device_that_is_not_there(self, refused):
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
        message = refused("models.py:double", "--device", "cuda", code=2)
        assert "device 'cuda': PyTorch sees no GPU here. Use --device cpu" in message


class TestOutput:
    @pytest.mark.parametrize("force", [(), ("--force",)])
    def test_that_is_a_file(self, place, refused, force):
        (place / "out").write_text("mine")
        assert "expected a folder, got a file or a link" in refused("models.py:double", *force, code=2)

    def test_that_is_a_folder_of_something_else(self, place, refused):
        (place / "out").mkdir()
        (place / "out" / "mine.txt").write_text("mine")
        message = refused("models.py:double", code=2)
        assert "exists already. Choose another folder, or replace it with --force" in message
        message = refused("models.py:double", "--force", code=2)
        assert "--force replaces packages and empty folders only, and this holds other files" in message

    def test_that_is_a_package(self, place, refused, command):
        assert command("convert", place / "models.py:double", "-o", place / "out", *QUICK)[0] == 0
        assert "exists already" in refused("models.py:double", code=2)
        refused("models.py:raises", "--force", code=1)
        first = snapshot(place / "out")
        assert (
            command("convert", place / "models.py:double", "-o", place / "out", *QUICK, "--force", "--seed", 5)[0] == 0
        )
        assert snapshot(place / "out") != first
        assert sorted(path.name for path in place.iterdir() if path.name != "__pycache__") == ["models.py", "out"]
        graph = str(place / "out" / "onnx" / "model.onnx")
        assert f"holds the source '{graph}', which stays as it is" in refused(graph, "--force", code=2)

    @pytest.mark.parametrize("out", ["model", "model/inside", "model/deep/inside"])
    @pytest.mark.parametrize("force", [(), ("--force",)])
    def test_that_is_the_source(self, model, refused, out, force):
        message = refused(str(model), *force, code=2, out=out)
        assert f"lies in the source '{model}', which stays as it is. Choose another place" in message

    def test_whose_parent_is_missing(self, refused):
        message = refused("models.py:double", code=2, out="no/such/out")
        assert "its parent folder doesn't exist. Create '" in message

    def test_whose_parent_may_not_be_written(self, place, refused):
        (place / "locked").mkdir(mode=0o555)
        is_root = os.geteuid() == 0
        if is_root:
            place.chmod(0o777)
            open_to_all(place)
            os.seteuid(65534)
        try:
            message = refused("models.py:double", code=2, out="locked/out")
        finally:
            if is_root:
                os.seteuid(0)
        assert "can't write into" in message
        assert "(Permission denied). Choose a folder that you may write to" in message

    @pytest.mark.usefixtures("full_disk")
    def test_on_a_full_disk(self, refused):
        message = refused("models.py:wide", "--route", "trace", code=2, out="disk/out")
        assert "no space left on the device. Free some, or write elsewhere" in message

    @pytest.fixture
    def full_disk(self, place):
        """A folder with room for a few kilobytes."""
        disk = place / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", disk]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        yield disk
        subprocess.run(["umount", disk], check=True)


def start(place, *options):
    """Starts a conversion that lasts, in a process of its own, and waits until it is at work."""
    command = [COMMAND, "convert", "models.py:slow", "-o", "out", *QUICK, *options]
    started = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in started.stderr:
        if line.startswith("load:"):
            return started
    raise AssertionError(started.communicate())


def names(place):
    return sorted(path.name for path in place.iterdir() if path.name != "__pycache__")


class TestInterruption:
    @pytest.mark.parametrize(("number", "options"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--json",))])
    def test_leaves_nothing(self, place, number, options):
        started = start(place, *options)
        started.send_signal(number)
        printed, said = started.communicate(timeout=60)
        assert started.returncode == 2
        assert "error: interrupted; nothing half-done is left." in said
        assert "Traceback" not in said
        assert names(place) == ["models.py"]
        assert not options or json.loads(printed)["error"]["message"] == "interrupted; nothing half-done is left."

    def test_keeps_the_journal_of_what_was_tried(self, place, command, monkeypatch):
        from onnxwright.stages import repair

        own, made = repair.attempt, []

        def interrupted(bench, approach, **options):
            if made:
                raise KeyboardInterrupt
            made.append(approach)
            return own(bench, approach, **options)

        monkeypatch.setattr(repair, "attempt", interrupted)

        code, printed, said = command("convert", place / "models.py:branching", "-o", place / "out", *QUICK, "--json")

        assert code == 2
        assert "Tried before:\n  trace@18: " in said
        assert [attempt["route"] for attempt in json.loads(printed)["attempts"]] == ["trace"]
        assert not (place / "out").exists()

    def test_by_force_leaves_no_package_and_the_next_run_tidies_up(self, place, command):
        started = start(place)
        started.kill()
        started.communicate(timeout=60)
        hidden = [name for name in names(place) if name.endswith(".partial")]
        assert names(place) == [*hidden, "models.py"]
        assert len(hidden) == 1
        assert command("convert", place / "models.py:double", "-o", place / "out", *QUICK)[0] == 0
        assert names(place) == ["models.py", "out"]


class TestJson:
    def fail(self, command, *words):
        code, printed, said = command(*words, "--json")
        document = json.loads(printed)
        assert document["exit_code"] == code
        assert "Traceback" not in said
        return code, document

    def test_of_a_failure_of_the_call(self, place, command):
        code, document = self.fail(command, "convert", "/no/such/folder", "-o", place / "out")
        assert code == 2
        assert document["error"]["type"] == "SourceError"
        assert document["error"]["message"].startswith("source '/no/such/folder': no such file or folder")

    def test_of_a_failure_of_the_model(self, place, command):
        code, document = self.fail(command, "convert", place / "models.py:noisy", "-o", place / "out", *QUICK)
        assert (code, document["error"]["type"]) == (1, "ProofError")
        assert [found["code"] for found in document["findings"]] == ["nondeterministic-forward"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("convert", "--frob"), "No such option: --frob"),
            (("convert",), "Missing argument 'SOURCE'"),
            (("convert", "model", "-o", "out", "--batch", "a", "b", "c"), "Invalid value for '--batch'"),
            (("inspect", "/no/such/folder"), "no such"),
            (("prove", "/no/such/folder"), "no such"),
        ],
    )
    def test_of_a_mistyped_call(self, command, words, message):
        code, document = self.fail(command, *words)
        assert code == 2
        assert message in document["error"]["message"]


def test_a_damaged_graph_is_the_files_fault(place, refused):
    (place / "model.onnx").write_bytes(textwrap.dedent("not a graph").encode())
    assert "model.onnx' is not a valid ONNX model" in refused(str(place / "model.onnx"), code=2)
