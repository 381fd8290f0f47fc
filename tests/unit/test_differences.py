"""Two traces held against each other: what was frozen, where, and nothing else."""

import inspect

import pytest
import torch
from torch import nn

from onnxwright.signature import Signature, TensorSpec
from onnxwright.watching.differences import differences

SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("batch", "sequence")),), (TensorSpec("output", "float32", ("batch", "sequence")),)
)


def found(function, one=(2, 16), other=(3, 23)):
    class Module(nn.Module):
        def forward(self, x):
            return function(x)

    samples = ({"x": torch.randn(*shape)} for shape in (one, other))
    return differences(Module(), SIGNATURE, *samples)


def branch(x):
    if x.shape[1] > 20:  # HERE
        return x * 2.0
    return x + 1.0


def early_exit(x):
    y = torch.tanh(x)
    if x.shape[1] > 20:  # HERE
        return y
    y = y * 2.0
    return y + 1.0


def loop(x):
    for _ in range(x.shape[1]):  # HERE
        x = torch.tanh(x)
    return x


def called(x):
    return helped(x) if x.shape[1] > 20 else x * 2.0


def helped(x):
    return x + 1.0


def constant(x):
    return x / float(x.shape[1])  # HERE


def table(x):
    return x + torch.tensor([float(number) for number in range(int(x.shape[1]))])  # HERE


def value(x):
    return x * x.abs().max().item()  # HERE


FROZEN = {branch: "branch", early_exit: "branch", loop: "loop", constant: "other", table: "loop", value: "other"}


@pytest.mark.parametrize("function", FROZEN, ids=lambda function: function.__name__)
def test_what_is_frozen_is_found_at_its_line(function):
    first, *_ = found(function)

    lines, begin = inspect.getsourcelines(function)
    marked = begin + next(number for number, line in enumerate(lines) if line.rstrip().endswith("# HERE"))
    assert (first.place.line.number, first.kind) == (marked, FROZEN[function])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(x.shape[0], -1, 1).expand(-1, -1, 3).sum(-1),
        lambda x: x + torch.arange(x.shape[1]),
        lambda x: x * 2.0 if x.dim() == 2 else x,
        lambda x: torch.cat([x, x.new_zeros(x.shape[0], 3)], 1)[:, : x.shape[1]],
    ],
    ids=["reshape", "arange", "rank", "pad"],
)
def test_what_is_computed_in_the_graph_is_not_found(function):
    assert found(function) == []


def test_samples_of_one_size_differ_in_values_alone():
    assert found(constant, (2, 16), (2, 16)) == []
    assert [one.kind for one in found(value, (2, 16), (2, 16))] == ["other"]


def test_constants_that_reach_no_output_do_not_count():
    def unused(x):
        _ = x * float(x.shape[1])
        return x + 1.0

    assert found(unused) == []


def test_a_module_that_can_not_be_traced_tells_nothing():
    def raising(x):
        if x.shape[1] > 20:
            raise ValueError(x)
        return x

    assert found(raising) == []
