"""`--allow-fallback` reaches the engine from each command that can be asked for one on a GPU, when it is said.

A machine without a GPU has none to ask, so that here ONNX Runtime notes what it is told and then runs.
"""

import json

import onnx
import pytest

import onnxwright as ow
from onnxwright.backends import onnxruntime

TEXT = """<ir_version: 8, opset_import: ["" : 18]>
dense (float[batch, 4] x) => (float[batch, 4] y) <float[4] w = {1, -2, 3, 4}> { y = Mul (x, w) }"""


@pytest.fixture
def told(monkeypatch):
    """Whether each session that was made may fall back."""
    noted = []
    prepare = onnxruntime.OnnxRuntime.prepare

    def note(backend, file, options):
        noted.append(options.allows_fallback)
        return prepare(backend, file, options)

    monkeypatch.setattr(onnxruntime.OnnxRuntime, "prepare", note)
    return noted


@pytest.fixture
def graph(tmp_path):
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("words", [(), ("--allow-fallback",)])
def test_every_session_of_a_command_is_told(words, told, graph, tmp_path, command):
    options = ("--proof", "quick", "--engine", "onnxruntime", *words)

    for tried in (
        ("convert", graph, "-o", tmp_path / "out", "--batch", 1, 2, 3, "--optimize", *options),
        ("prove", tmp_path / "out", *options[2:]),
        ("prove", graph, "--candidate", tmp_path / "out", "--batch", 1, 2, 3, *options),
    ):
        told.clear()
        code, out, _ = command(*tried)
        assert code == 0, out
        assert set(told) == {bool(words)}, tried[0]


@pytest.mark.parametrize("words", [(), ("--allow-fallback",)])
def test_run_tells_its_session(words, told, counting, minilm, command):
    folder = counting(task="embedding")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((minilm / name).read_bytes())

    code, out, _ = command("run", folder, "--text", "a guitar", *words)

    assert code == 0
    assert json.loads(out)["tokens"] > 0
    assert told == [bool(words)]


def test_a_session_of_a_package_is_told_by_name(told, counting):
    package = ow.open(counting())

    package.session(allow_fallback=True)
    package.session()
    assert told == [True, False]
