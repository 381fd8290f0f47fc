"""Numbers that rounding may put on either of two steps: what becomes of an answer when each goes the other way."""

import numpy as np
import pytest
import torch
from cases.functions import FunctionModule, FunctionSession
from torch import nn

from onnxwright.errors import ForwardError
from onnxwright.proof.judge import Judge
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.reference import Reference
from onnxwright.signature import Signature, TensorSpec
from onnxwright.tolerance import SAME_PRECISION

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


def led(module, x, *steps):
    session = PyTorchSession(module, Signature((TensorSpec("x", "float32", (len(x),)),), ()), threads=1)
    (answered,) = session.run_led(
        {"x": np.array(x, np.float32)}, [np.array(one, np.float32) * SCALE for one in steps]
    ).values()
    return answered.tolist()


def test_only_what_another_computation_has_on_the_other_step_becomes_it():
    halves = [0.5 * SCALE, 1.5 * SCALE, 2.5 * SCALE, 3.5 * SCALE]

    assert led(FunctionModule(stepped), halves, [0, 1, 3, 4]) == [0.0, 1 * SCALE, 3 * SCALE, 4 * SCALE]


@pytest.mark.parametrize("number", [0.51, 0.4, 1.0, -0.6])
def test_what_is_no_toss_up_stays_whatever_another_computation_has(number):
    x = [number * SCALE] * 2

    assert led(FunctionModule(stepped), x, [1, 1]) == led(FunctionModule(stepped), x, [0, 0])


def test_a_toss_up_becomes_no_step_but_the_two():
    assert led(FunctionModule(stepped), [0.5 * SCALE], [-1]) == [0.0]


def test_calls_that_another_computation_lacks_or_has_besides_do_not_matter():
    def twice(x):
        return stepped(stepped(x * 4) + x)

    x = [0.5 * SCALE, 1.5 * SCALE, 0.25 * SCALE]
    first, last = [2, 6, 1], [3, 7, 1]  # 2.5 and 7.5 are toss-ups

    assert led(FunctionModule(twice), x, first, last) == [0.75, 1.75, 0.25]
    assert led(FunctionModule(twice), x, last) == [0.75, 1.75, 0.25]
    assert led(FunctionModule(twice), x, [0, 0], first, last) == [0.75, 1.75, 0.25]


def test_a_number_halfway_becomes_the_step_on_which_it_was_not_put():
    """By a scale that is no power of two, what lies halfway is put on either side by its last digit."""

    def tenths(x):
        return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)

    numbers = np.array([0.5, 1.5, 2.5, 5.5, 17.5, 42.5, -3.5, -11.5], np.float32) * np.float32(0.1)
    signature = Signature((TensorSpec("x", "float32", (len(numbers),)),), ())
    session = PyTorchSession(FunctionModule(tenths), signature, threads=1)
    (plain,), (turned,) = (one({"x": numbers}).values() for one in (session.run, session.run_tipped))

    assert np.abs(turned - plain).tolist() == pytest.approx([0.1] * len(numbers), abs=1e-6)
    middle = (turned + plain) / 2
    np.testing.assert_allclose(middle, numbers, atol=1e-5)


def following(answer, led):
    same = saying([1.0, 1.0, 1.0])
    judge = Judge(Reference(same, same, "said", led=lambda _, steps: led(steps)))
    judge.look_at({}, same.run({}), "here")

    def steps(_):
        return [np.array([answer])]

    return judge.following(steps, {}, {"y": np.array([1.0, answer, 1.0], np.float32)}, SAME_PRECISION)


def test_an_answer_is_right_that_the_reference_gives_once_it_follows():
    ruling = following(1.5, lambda steps: {"y": np.array([1.0, steps[0][0], 1.0], np.float32)})

    assert ruling.is_right
    assert ruling.errors == {"y": 0.0}


def test_an_answer_that_it_does_not_give_is_not_ruled_right():
    assert following(1.5, lambda _: {"y": np.array([1.0, 1.499, 1.0], np.float32)}) is None


def test_a_graph_that_puts_nothing_on_a_grid_is_not_followed():
    same = saying([1.0, 1.0, 1.0])
    judge = Judge(Reference(same, same, "said", led=lambda *_: pytest.fail("it was asked")))

    assert judge.following(lambda _: [], {}, {"y": np.zeros(3, np.float32)}, SAME_PRECISION) is None


def test_a_reference_that_raises_rules_nothing():
    def raising(_):
        raise ForwardError("no")

    assert following(1.5, raising) is None


def saying(answer):
    return FunctionSession(lambda _: {"y": np.array(answer, np.float32)})


@pytest.mark.parametrize(
    ("answer", "is_right"), [(1.1, True), (1.115, True), (1.13, False), (0.89, True), (0.87, False)]
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
