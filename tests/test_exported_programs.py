"""What `torch.export` has made is a source like any module."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

import onnxwright as ow

SIZES = {"ids": {0: "batch", 1: "sequence"}, "weights": {0: "batch", 1: "sequence"}}


class Weighed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.line, self.drop = nn.Embedding(20, 8), nn.Linear(8, 3), nn.Dropout()

    def forward(self, ids, weights=None):
        states = self.drop(self.words(ids))
        return self.line(states if weights is None else states * weights.unsqueeze(-1))


@pytest.mark.parametrize("is_called", [False, True])
def test_is_proven_for_the_sizes_that_it_was_exported_for(is_called, tmp_path):
    module = Weighed().eval()
    ids, weights = torch.randint(0, 20, (3, 5)), torch.rand(3, 5)
    sizes = {"ids": {0: Dim("b", max=6), 1: Dim.DYNAMIC}, "weights": {0: Dim("b", max=6), 1: Dim.DYNAMIC}}
    program = torch.export.export(module, (ids,), {"weights": weights}, dynamic_shapes=sizes)

    package = ow.convert(
        program.module() if is_called else program,
        tmp_path / "out",
        example_inputs={"ids": ids, "weights": weights},
        dims=SIZES,
        profile={"sequence": (1, 8, 16)},
        engine="onnxruntime",
        proof="quick",
        measure=False,
    )

    (answered,) = package.session().run({"ids": ids.numpy(), "weights": weights.numpy()}).values()
    assert package.proof.verdict == "proven"
    assert package.proof.range == {"batch": (1, 6), "sequence": (1, 16)}
    assert {one.code for one in package.manifest.findings} == {"reference-refuses-size"}
    np.testing.assert_allclose(answered, module(ids, weights).detach().numpy(), rtol=1e-4, atol=1e-6)
