"""A model of three gigabytes is converted, proven, moved and run, in little more memory than it takes itself."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LIMIT = 1.2
CONVERTED = """
import json, sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import onnxwright as ow

torch.manual_seed(0)
folder = Path(sys.argv[1])


class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(60_000, 4096)
        self.wide = nn.ModuleList(nn.Linear(4096, 16_384) for _ in range(4))
        self.back = nn.ModuleList(nn.Linear(16_384, 4096) for _ in range(4))

    def forward(self, ids):
        states = self.words(ids)
        for wide, back in zip(self.wide, self.back, strict=True):
            states = states + back(torch.relu(wide(states)))
        return states


module = Large().eval()
print(sum(weight.nbytes for weight in module.parameters()), flush=True)
sys.stdin.readline()
package = ow.convert(
    module,
    folder / "package",
    example_inputs={"ids": torch.arange(6).reshape(2, 3)},
    dims={"ids": {0: "batch", 1: "sequence"}},
    profile={"batch": (1, 2, 3), "sequence": (1, 4, 8)},
    precision="fp32",
    measure=False,
    proof="quick",
    engine="onnxruntime",
    route="trace",
)
sizes = [most for least, most in package.proof.range.values()]
ids = np.arange(np.prod(sizes)).reshape(sizes)
with torch.no_grad():
    expected = module(torch.from_numpy(ids)).numpy()
del module
(folder / "package").rename(folder / "moved")
moved = ow.open(folder / "moved")
(answered,) = moved.session().run({"ids": ids}).values()
told = {
    "verdict": moved.proof.verdict,
    "range": moved.proof.range,
    "error": float(np.abs(answered - expected).max() / np.abs(expected).max()),
    "files": {file.name: file.stat().st_size for file in (folder / "moved" / "onnx").iterdir()},
}
print(json.dumps(told))
"""


@pytest.mark.large
def test_a_model_of_three_gigabytes_is_converted_in_little_more_memory(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from memory import held

    command = [sys.executable, "-c", CONVERTED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        weights = int(process.stdout.readline())
        base = most = held(process.pid).whole
        process.stdin.write("go\n")
        process.stdin.flush()
        while process.poll() is None:
            most = max(most, held(process.pid).whole)
            time.sleep(0.1)
        told = json.loads(process.stdout.read())

    taken = (most - base) / weights
    print(f"{weights / 1e9:.2f} GB of weights; {taken:.2f} times as much memory beside them; {told}")
    # On a busy machine the time of a proof ends before all sizes are tried; what it declares then is less.
    assert told["verdict"] in {"proven", "partial"}
    assert told["range"]["batch"][1] * told["range"]["sequence"][1] >= 6, "beyond the traced sizes, or these at least"
    assert told["error"] < 1e-5
    assert told["files"]["model.onnx"] < 1 << 20
    assert told["files"]["model.onnx.data"] > 3_000_000_000
    assert taken < LIMIT
