"""Points at which one candidate was wrong tell others apart."""

import numpy as np
import pytest
import torch
from cases.functions import FunctionSession
from torch import nn

from onnxwright.manifest import Failure
from onnxwright.proof.replay import Replay
from onnxwright.reference import reference_of
from onnxwright.stages.load import load


class Cut(nn.Module):
    """Halves what is negative."""

    def forward(self, x):
        return torch.where(x < 0, x * 0.5, x)


@pytest.fixture(scope="module")
def source():
    return load(Cut(), example_inputs={"x": torch.randn(2, 8)}, dims={"x": {0: "batch", 1: "sequence"}})


def replay(source, *failures):
    return Replay(reference_of(source, threads=1), source.sampler, source.profile, failures)


def answering(compute):
    return FunctionSession(lambda feeds: {"output": compute(feeds["x"])})


SIZES = {"batch": 2, "sequence": 5}
FAILURES = (Failure(SIZES, "values", "off", "typical", 3), Failure(SIZES, "values", "off", "small", 1))


def test_what_is_right_at_the_points_does_not_fail(source):
    assert not replay(source, *FAILURES).fails(answering(lambda x: np.where(x < 0, x * np.float32(0.5), x)))


def test_what_is_wrong_just_beyond_the_limit_fails(source):
    wrong = answering(lambda x: np.where(x < 0, x * np.float32(0.5), x) + np.float32(1e-3) * np.abs(x).max())

    assert replay(source, *FAILURES).fails(wrong)


def test_what_raises_fails(source):
    def refuse(x):
        raise ValueError("no")

    assert replay(source, *FAILURES).fails(answering(refuse))


def test_points_that_can_not_be_drawn_again_tell_nothing(source):
    assert replay(source, Failure(SIZES, "values", "off", "given")).is_empty
    assert replay(source).is_empty
    assert not replay(source, *FAILURES).is_empty
