"""Numbers that rounding may put on either of two steps: what becomes of an answer when each goes the other way."""

import numpy as np
import pytest
import torch
from cases.functions import FunctionModule, FunctionSession
from torch import nn

from onnxwright.proof.judge import Judge
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.reference import Reference
from onnxwright.signature import Signature, TensorSpec

SCALE = 0.25
"""A power of two: what lies halfway does so to the last digit."""


def stepped(x):
    return torch.fake_quantize_per_tensor_affine(x, SCALE, 0, -8, 7)


def tipped(module, x):
    session = PyTorchSession(module, Signature((TensorSpec("x", "float32", (len(x),)),), ()), threads=1)
    return session.run_tipped({"x": np.array(x, np.float32)})


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (0.5, 1),
        (1.5, 1),
        (-0.5, -1),
        (0.5 + 4e-7, 0),
        (0.5 - 4e-7, 1),
        (0.51, 1),
        (0.4, 0),
        (3.0, 3),
        (7.5, 7),
        (99.5, 7),
    ],
)
def test_what_is_halfway_becomes_the_other_step(number, step):
    (answered,) = tipped(FunctionModule(stepped), [number * SCALE]).values()

    assert answered.tolist() == [step * SCALE]


def test_channels_have_steps_of_their_own():
    def channels(x):
        scale, zero = torch.tensor([0.25, 0.5]), torch.tensor([0, 2], dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(x[None], scale, zero, 1, 0, 15)

    (answered,) = tipped(FunctionModule(channels), [0.125, 0.25]).values()

    assert answered.tolist() == [[0.25, 0.5]]


def test_weights_are_no_toss_up():
    class Weighing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.125, 0.375]))

        def forward(self, x):
            return x * torch.fake_quantize_per_tensor_affine(self.weight * 1.0, SCALE, 0, -8, 7)

    assert tipped(Weighing(), [1.0, 1.0]) == {}


def test_a_module_without_steps_answers_nothing():
    assert tipped(FunctionModule(torch.sin), [0.5]) == {}


def saying(answer):
    return FunctionSession(lambda _: {"y": np.array(answer, np.float32)})


@pytest.mark.parametrize(
    ("answer", "is_right"), [(1.1, True), (1.115, True), (1.125, False), (0.89, True), (0.87, False)]
)
def test_an_answer_may_lie_as_far_as_the_reference_moves(answer, is_right):
    same, other = saying([1.0, 1.0, 1.0]), saying([1.0, 1.1, 1.0])
    judge = Judge(Reference(same, same, "said", tipped=other))
    expected, answered = same.run({}), {"y": np.array([1.0, answer, 1.0], np.float32)}
    judge.look_at({}, expected, "here")

    ruling = judge.rule({"y": abs(answer - 1.0) / 2}, {}, expected, answered)

    assert ruling.is_right is is_right


def test_without_steps_no_answer_may_lie_off():
    same = saying([1.0, 1.0, 1.0])
    judge = Judge(Reference(same, same, "said"))
    judge.look_at({}, same.run({}), "here")

    assert judge.rule({"y": 0.01}, {}, same.run({}), same.run({})).is_right is False
