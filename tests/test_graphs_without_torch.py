"""What begins with a graph needs no PyTorch, and doesn't load it."""

import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

TEXT = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 32] x) => (float[batch, 32] y) { a = MatMul (x, w)  b = Tanh (a)  c = Identity (b)  y = MatMul (c, w) }
"""
ABSENT = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {"torch", "transformers"}:
            raise ModuleNotFoundError(f"'{name}' is not there")
sys.meta_path.insert(0, Absent())
from onnxwright.cli import main
main()
"""
SIZES = ["--batch", "1", "2", "4"]
QUICK = ["--no-measure", "--proof", "quick", *SIZES]


@pytest.fixture
def folder(tmp_path):
    model = onnx.parser.parse_model(TEXT)
    draw = np.random.default_rng(0)
    weight = (draw.normal(size=(32, 32)) / 8).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "samples.npz", x=draw.normal(size=(64, 32)).astype(np.float32))
    return tmp_path


def run(folder, *words):
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LOSS = ("--max-accuracy-loss", "0.03")
"""With weights in half the range of int8, as on a processor without VNNI, it loses 0.017."""


@pytest.mark.parametrize(
    "words",
    [
        ("optimize", "model.onnx", "-o", "out", *QUICK),
        (
            "quantize",
            "model.onnx",
            "-o",
            "out",
            "--precision",
            "int8-static",
            *LOSS,
            "--samples",
            "samples.npz",
            *QUICK,
        ),
        ("quantize", "model.onnx", "-o", "out", "--precision", "fp16", "--samples", "samples.npz", *QUICK),
        ("convert", "model.onnx", "-o", "out", *QUICK),
    ],
    ids=lambda words: " ".join(words[:6:5]),
)
def test_a_package_is_made_of_a_graph(words, folder):
    told = run(folder, *words, "--engine", "onnxruntime")

    assert "proven" in told
    assert "proven" in run(folder, "prove", "out")


def test_graphs_are_compared_and_proven(folder):
    shutil.copy(folder / "model.onnx", folder / "other.onnx")
    held = ("--candidate", "other.onnx", "--engine", "onnxruntime", "--proof", "quick", *SIZES)
    assert "proven" in run(folder, "prove", "model.onnx", *held)
    assert run(folder, "diff", "model.onnx", "other.onnx")
    assert "MatMul" in run(folder, "inspect", "model.onnx")
