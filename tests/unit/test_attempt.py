"""An attempt keeps what was shown in its engines, and the engines only where a reproduction is made with them."""

import pytest
import torch
from torch import nn

from onnxwright.approach import Approach
from onnxwright.reference import reference_of
from onnxwright.stages.attempt import Workbench, attempt
from onnxwright.stages.load import load
from onnxwright.stages.request import Request


@pytest.mark.parametrize("has_repro", [False, True])
def test_engines_are_let_go_unless_a_reproduction_needs_them(tmp_path, has_repro):
    source = load(nn.Linear(4, 4), example_inputs={"input": torch.rand(2, 4)}, dims={"input": {0: "batch"}})
    repro = tmp_path / "repro" if has_repro else None
    request = Request(source.module, tmp_path / "out", proof="quick", repro=repro)
    bench = Workbench(request, source, reference_of(source, threads=1), ["onnxruntime"], tmp_path)

    outcome = attempt(bench, Approach("trace", 18))

    assert outcome.proof.verdict == "proven"
    assert outcome.ran["onnxruntime"].precision == "float32"
    assert list(outcome.sessions) == (["onnxruntime"] if has_repro else [])
