"""Functions with a cache are computed each time while a module is exported, and only then."""

import functools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import compile_compatible_method_lru_cache

import onnxwright as ow
from onnxwright.pytorch import widened
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.pytorch.uncached import uncached
from onnxwright.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("batch", "sequence")),), (TensorSpec("output", "float32", ("batch", "sequence")),)
)


def spread(shape: torch.Size, scale: float) -> Tensor:
    return torch.arange(shape[1], dtype=torch.float32).expand(shape[0], -1) * scale


places = functools.lru_cache(maxsize=1)(spread)


def kept(function):
    cached = functools.lru_cache(maxsize=4)(function)

    @functools.wraps(function)
    def wrapper(*args):
        return cached(*args)

    return wrapper


class Named(nn.Module):
    """Calls a cached function by its name."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.at(x.shape)

    def at(self, shape: torch.Size) -> Tensor:
        return places(shape, 0.5)


class Attribute(Named):
    """Holds the cache as a method."""

    @staticmethod
    @functools.lru_cache
    def at(shape: torch.Size) -> Tensor:
        return spread(shape, 0.5)


class Closed(Named):
    """Holds the cache in what a decorator closes over."""

    @kept
    def at(self, shape: torch.Size) -> Tensor:
        return spread(shape, 0.5)


KINDS = [Named, Attribute, Closed]


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_is_computed_and_then_kept_again(kind):
    module, shape = kind(), torch.zeros(2, 3).shape
    first = module.at(shape)

    with uncached(module):
        assert module.at(shape) is not first
        assert torch.equal(module.at(shape), first)
    module.at(shape)
    assert module.at(shape) is module.at(shape)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_follows_sizes_through_a_cache(kind, tmp_path):
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))

    package = ow.convert(
        kind(),
        tmp_path / "out",
        example_inputs={"x": x},
        dims={"x": {0: "batch", 1: "sequence"}},
        profile={"batch": (1, 2, 3), "sequence": (1, 6, 12)},
        route="trace",
        engine="onnxruntime",
        measure=False,
        proof="quick",
    )

    assert [attempt.approach for attempt in package.manifest.attempts] == ["trace@18"]
    assert package.proof.verdict == "proven"


def test_what_torch_keeps_stays_kept():
    class Torchs(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * kept_by_torch()

    kept_by_torch = functools.lru_cache(lambda: 2.0)
    kept_by_torch.__module__ = "torch.library"

    with uncached(Torchs()):
        cell = Torchs.forward.__closure__[0]
        assert cell.cell_contents is kept_by_torch


class Embedded(nn.Module):
    """Has what its class keeps of a size computed in a part."""

    class Table(nn.Module):
        """Keeps what it computes of a size behind another function, as transformers' position embeddings do."""

        @staticmethod
        @compile_compatible_method_lru_cache(maxsize=1)
        def of(shape: torch.Size, dtype: torch.dtype) -> Tensor:
            return torch.linspace(0.0, 1.0, shape[1], dtype=dtype).cumsum(0)

        def forward(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
            return self.of(shape, dtype).expand(shape)

    def __init__(self) -> None:
        super().__init__()
        self.table = self.Table()

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.table(x.shape, x.dtype).view(-1, x.shape[1])).sin()


def test_what_is_computed_in_float64_is_not_kept_for_others(monkeypatch):
    session = PyTorchSession(Embedded(), SIGNATURE, threads=1)
    monkeypatch.setattr(session._pristine, "restore", lambda: None)  # it empties caches, but not all that there are
    feeds = {"x": np.ones((2, 5), np.float32)}

    precise = session.run_widened(feeds, widened.Widening())
    answered = session.run(feeds)

    np.testing.assert_allclose(answered["output"], precise["output"], rtol=1e-6)
