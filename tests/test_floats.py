"""Models from PyTorch in float16: what is kept follows from what they compute, and the answers are those of float32."""

import functools

import numpy as np
import pytest
import torch
from cases.architectures import ORDINARY
from cases.functions import FunctionSession
from cases.graphs import answers, strictly
from torch import nn

from onnxwright.graph.precision.floats import lowered
from onnxwright.graph.precision.islands import GUILTY, grown
from onnxwright.graph.precision.observing import observed, ranges
from onnxwright.proof.prove import Plan, prove
from onnxwright.reference import reference_of
from onnxwright.stages.export import export
from onnxwright.stages.load import load
from onnxwright.tolerance import distance, quantized

FEATURES = {"x": {0: "batch"}}


class Pooled(nn.Module):
    """Convolution, normalization of batches and of groups, and a mean over places."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.GELU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return nn.functional.normalize(self.second(self.first(x)).flatten(1), dim=-1)


class Recurrent(nn.Module):
    """An LSTM, and the last of its states."""

    def __init__(self):
        super().__init__()
        self.states = nn.LSTM(6, 8, batch_first=True)

    def forward(self, x):
        return self.states(x)[0][:, -1]


class Overflowing(nn.Module):
    """Goes beyond 65504 for a moment, in its second layer."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        for place, layer in enumerate(self.layers):
            x = torch.tanh(layer(x))
            if place == 1:
                x = (x * 1000).pow(2).sqrt() / 1000
        return x


MODELS = {
    "llama": ORDINARY["llama"],
    "pooled": lambda: (Pooled(), {"x": torch.randn(2, 3, 12, 12)}, FEATURES),
    "recurrent": lambda: (Recurrent(), {"x": torch.randn(2, 5, 6)}, FEATURES),
    "overflowing": lambda: (Overflowing(), {"x": torch.randn(4, 8)}, FEATURES),
}


@functools.cache
def loaded(name):
    torch.manual_seed(0)
    module, inputs, dims = MODELS[name]()
    return load(module, example_inputs=inputs, dims=dims)


@functools.cache
def exported(name):
    """The graph of a model, and feeds of two sizes."""
    source = loaded(name)
    sizes = ({dim: min(5 + 7 * step, one.most) for dim, one in source.profile.items()} for step in (0, 1))
    return export(source).model, [source.sampler.draw(one, seed=seed) for seed, one in enumerate(sizes)]


def run(graph):
    return FunctionSession(lambda feeds: answers(graph, feeds))


def off(before, after, feeds, run=answers):
    expected, given = answers(before, feeds), run(after, feeds)
    return max(distance(array, given[name]) for name, array in expected.items())


LIMIT = 0.013
"""The noise of float32, 2e-7, by 2¹³ as float16 rounds, by 8."""


@pytest.mark.parametrize("name", MODELS)
def test_answers_as_float32_does(name):
    before, feeds = exported(name)

    after = lowered(before, "float16", ranges(run(observed(before)), feeds))

    assert len(after.kept) <= 20
    for one in feeds:
        assert 0 < off(before, after.model, one) <= LIMIT


def test_what_overflows_is_what_is_kept_and_mends_it():
    before, feeds = exported("overflowing")

    after = lowered(before, "float16", ranges(run(observed(before)), feeds))

    guilty = [node.op_type for node in after.model.graph if node.name in after.kept]
    assert guilty == ["Pow", "Sqrt"]
    assert off(before, after.model, feeds[0], strictly) <= LIMIT
    assert off(before, lowered(before, "float16", None).model, feeds[0], strictly) > LIMIT


def test_the_proof_holds_with_what_was_foreseen_and_fails_without():
    before, feeds = exported("overflowing")
    source = loaded("overflowing")
    right, wrong = (lowered(before, "float16", known).model for known in (ranges(run(observed(before)), feeds), None))
    candidates = {
        "right": FunctionSession(lambda given: strictly(right, given)),
        "wrong": FunctionSession(lambda given: strictly(wrong, given)),
    }
    plan = Plan(source.profile, source.traced, seconds=2.0, classes=dict.fromkeys(candidates, quantized({})))

    proofs = prove(reference_of(source, threads=1), candidates, source.sampler, plan)

    assert proofs["right"].verdict == "proven"
    assert proofs["right"].tolerance.classes == {"output": "lower-precision"}
    assert proofs["wrong"].verdict == "failed"


def test_islands_find_what_was_not_foreseen():
    before, feeds = exported("overflowing")

    found = grown(
        lambda kept: lowered(before, "float16", None, kept=kept),
        lambda graph: off(before, graph, feeds[0], strictly) <= LIMIT,
    )

    guilty = [node.op_type for node in found.lowered.model.graph if node.name in found.lowered.kept]
    assert found.is_right
    assert guilty == ["Pow", "Sqrt"]
    assert set(found.lowered.kept.values()) == {GUILTY}


def test_angles_of_far_places_stay_angles():
    before, feeds = exported("llama")
    known = ranges(run(observed(before)), feeds)
    far = {name: np.tile(array[:1, :1], (1, 400)) for name, array in feeds[0].items()}

    after = lowered(before, "float16", known)

    assert any("angle" in reason for reason in after.kept.values())
    assert off(before, after.model, far) <= LIMIT
