"""A package answers in an environment with the base install alone: no torch, no transformers, no onnx."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
ABSENT = ("torch", "transformers", "onnx", "openvino", "jinja2")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A new virtual environment with what `pip install onnxwright` brings; returns its folder of programs."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    run([sys.executable, "-m", "venv", str(folder)], ROOT)
    programs = folder / "bin"
    pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-compile", "-c", str(ROOT / "constraints.txt"), str(ROOT)], ROOT)
    return programs


@pytest.fixture(scope="module")
def converted(tmp_path_factory, minilm):
    """A package that the whole environment converted: a tiny BERT with random weights and a real tokenizer."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("converted")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(**small, max_position_embeddings=64)
    transformers.BertModel(config).save_pretrained(folder / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(minilm / name, folder / "model")
    sizes = ["--batch", "1", "2", "3", "--sequence", "1", "8", "16"]
    convert = [str(Path(sys.executable).with_name("onnxwright")), "convert", "model", "-o", "package", *sizes]
    run([*convert, "--task", "embedding", "--proof", "quick", "--no-measure"], folder)
    return folder / "package"


def run(command, folder):
    """Runs a program that must succeed, without what would lead Python elsewhere, and returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(bare, folder, code):
    return run([str(bare / "python"), "-c", code], folder)


def onnxwright(bare, folder, *arguments):
    return run([str(bare / "onnxwright"), *arguments], folder)


@pytest.mark.parametrize("library", ABSENT)
def test_the_library_is_not_there(bare, tmp_path, library):
    done = subprocess.run(
        [str(bare / "python"), "-c", f"import {library}"], cwd=tmp_path, capture_output=True, check=False
    )
    assert b"ModuleNotFoundError" in done.stderr


def test_a_session_runs(bare, converted):
    code = (
        "import json, numpy as np, onnxwright as ow\n"
        "session = ow.open('package').session()\n"
        "feeds = {name: np.ones((2, 5), np.int64) for name in session.signature.input_names}\n"
        "print(json.dumps({name: array.shape for name, array in session.run(feeds).items()}))\n"
    )
    assert json.loads(python(bare, converted.parent, code))["sentence_embedding"] == [2, 16]


def test_the_pipeline_answers_as_here(bare, converted):
    import onnxwright as ow

    texts = ["A guitar is a stringed instrument.", "short", "Ünïcödé " * 40]
    code = f"import json, onnxwright as ow; print(json.dumps(ow.pipeline('package')({texts!r})))"
    answers = json.loads(python(bare, converted.parent, code))
    expected = ow.pipeline(converted, engine="onnxruntime")(texts)
    for answer, reference in zip(answers, expected, strict=True):
        assert answer == pytest.approx(reference, abs=1e-6)


def test_sizes_out_of_range_are_refused(bare, converted):
    code = (
        "import numpy as np, onnxwright as ow\n"
        "from onnxwright.errors import OutOfRangeError\n"
        "session = ow.open('package').session()\n"
        "try:\n"
        "    session.run({name: np.ones((9, 5), np.int64) for name in session.signature.input_names})\n"
        "except OutOfRangeError as refusal:\n"
        "    print(refusal)\n"
    )
    assert "dim 'batch': got size 9, proven for 1 to 3" in python(bare, converted.parent, code)


def test_the_command_line_runs_texts(bare, converted):
    (converted.parent / "texts.txt").write_text("one\ntwo words\n")
    told = onnxwright(bare, converted.parent, "run", "package", "--file", "texts.txt")
    assert len([json.loads(line) for line in told.splitlines()]) == 2
    assert onnxwright(bare, converted.parent, "run", "package", "--text", "one")


def test_the_command_line_proves(bare, converted):
    told = json.loads(onnxwright(bare, converted.parent, "prove", "package", "--json"))
    assert "proven" in json.dumps(told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("convert", "model", "-o", "out"), "ONNX files need onnx and onnx-ir"),
        (("convert", "package/onnx/model.onnx", "-o", "out"), "ONNX files need onnx and onnx-ir"),
        (("prove", "package", "--candidate", "package/onnx/model.onnx"), "ONNX files need onnx and onnx-ir"),
    ],
)
def test_what_needs_more_names_the_extra(bare, converted, words, told):
    done = subprocess.run(
        [str(bare / "onnxwright"), *words], cwd=converted.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert 'Run `pip install "onnxwright[convert]"`' in done.stderr


def test_the_command_line_inspects(bare, converted):
    told = json.loads(onnxwright(bare, converted.parent, "inspect", "package", "--json"))
    assert told["manifest"]["task"] == "embedding"
    assert "verdict" in onnxwright(bare, converted.parent, "inspect", "package")
