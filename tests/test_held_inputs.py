"""Inputs that describe others: held at the example's values, and told so."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onnxwright as ow

GRID = torch.tensor([[2, 4], [3, 4]])
EXAMPLE = {"x": torch.randn(20, 8, generator=torch.Generator().manual_seed(0)), "grid": GRID}


class Patches(nn.Module):
    """Reads from a grid how the rows of its input stand in images; keeps how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.calls = 0

    def forward(self, x: Tensor, grid: Tensor, **_: Tensor) -> Tensor:
        self.calls += 1
        sizes = [(int(height), int(width)) for height, width in grid.tolist()]
        parts = x.split([height * width for height, width in sizes])
        images = [
            self.layer(part).reshape(*size, 8).cumsum(1).mean((0, 1)) for part, size in zip(parts, sizes, strict=True)
        ]
        return torch.stack(images)


class Scaled(nn.Module):
    """Takes any whole numbers."""

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        return x * times


@pytest.fixture
def package(tmp_path):
    torch.manual_seed(0)
    module = Patches()
    found = ow.convert(module, tmp_path / "out", example_inputs=EXAMPLE, dims={}, measure=False, proof="quick")
    assert module.calls == 0
    assert "forward" not in vars(module)
    return found


def test_a_module_that_refuses_other_values_is_proven_at_these(package):
    assert package.proof.verdict == "proven"
    assert [found.code for found in package.manifest.findings].count("values-held") == 1
    torch.manual_seed(0)
    module, x = Patches().eval(), np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    answered = package.session(engine="onnxruntime").run({"x": x, "grid": GRID.numpy()})
    with torch.no_grad():
        expected = module(torch.from_numpy(x), GRID)
    np.testing.assert_allclose(next(iter(answered.values())), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_a_session_refuses_other_values(package):
    feeds = {"x": np.zeros((20, 8), np.float32), "grid": np.array([[4, 2], [3, 4]])}

    with pytest.raises(ow.OnnxwrightError, match=r"input 'grid': is held at \[2, 4, 3, 4\], got \[4, 2, 3, 4\]"):
        package.session(engine="onnxruntime").run(feeds)


def test_a_package_that_holds_an_input_is_proven_again(package):
    assert {proof.verdict for proof in ow.prove(package.folder).values()} == {"proven"}


def test_what_takes_any_values_is_not_held(tmp_path):
    example = {"x": torch.randn(4, 3), "times": torch.tensor([2, 5, 7])}
    package = ow.convert(Scaled(), tmp_path / "out", example_inputs=example, dims={}, measure=False, proof="quick")

    assert "values-held" not in {found.code for found in package.manifest.findings}
    answered = package.session(engine="onnxruntime").run({"x": np.ones((4, 3), np.float32), "times": np.arange(3)})
    np.testing.assert_array_equal(next(iter(answered.values())), np.tile(np.arange(3.0), (4, 1)))
