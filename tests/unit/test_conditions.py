"""What code asks of sizes, found by running it on symbolic ones."""

import math
import re

import pytest
import torch
from torch import nn

from onnxwright.stages.load import load
from onnxwright.watching.conditions import ask, conditions_at

DIMS = {"x": {0: "batch", 1: "sequence"}}


def asked_by(decide):
    class Asking(nn.Module):
        def forward(self, x):
            return x * 2.0 if decide(x) else x + 1.0

    return load(Asking(), example_inputs={"x": torch.rand(2, 16)}, dims=DIMS)


def tried(source):
    return ask(source.module, source.sampler, source.profile, source.traced, seconds=20.0).sizes


def test_a_threshold_is_tried_on_its_other_side():
    sizes = tried(asked_by(lambda x: x.shape[1] > 8))

    assert {"batch": 2, "sequence": 8} in sizes


def test_a_pair_of_sizes_is_found_although_the_second_is_asked_only_after_the_first():
    sizes = tried(asked_by(lambda x: x.shape[0] == 13 and x.shape[1] == 200))

    assert {"batch": 13, "sequence": 200} in sizes


def test_a_ratio_is_found():
    sizes = tried(asked_by(lambda x: 3.2 < x.shape[1] / x.shape[0] < 3.3))

    assert any(3.2 < one["sequence"] / one["batch"] < 3.3 for one in sizes)


def test_a_condition_names_its_line():
    source = asked_by(lambda x: x.shape[1] == 333)

    (condition,) = conditions_at(source.module, source.sampler, source.traced)

    assert re.search(r"test_conditions\.py:\d+$", str(condition.place.line))
    assert condition.dims == ("sequence",)


@pytest.mark.parametrize(
    "decide", [lambda _: True, lambda x: x.shape[1] > 0, lambda x: x.dim() == 2], ids=["none", "always", "rank"]
)
def test_what_holds_for_all_sizes_asks_for_none(decide):
    assert tried(asked_by(decide)) == ()


def test_sizes_stay_in_the_profile():
    source = asked_by(lambda x: x.shape[1] * x.shape[0] > 12000)

    for sizes in tried(source):
        assert all(source.profile[dim].least <= size <= source.profile[dim].most for dim, size in sizes.items())


def test_a_length_that_goes_through_python_is_tried_elsewhere():
    source = asked_by(lambda x: math.log(x.shape[1]) > 0)

    assert any(sizes["sequence"] != source.traced["sequence"] for sizes in tried(source))


def test_the_module_is_left_as_it_was():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = None

        def forward(self, x):
            self.kept = x
            return x + 1.0

    source = load(Keeping(), example_inputs={"x": torch.rand(2, 16)}, dims=DIMS)
    tried(source)

    assert source.module.kept is None
