"""What code asks of sizes, found by running it on symbolic ones."""

import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from onnxwright.pytorch.lines import Line
from onnxwright.stages.load import load
from onnxwright.watching.walking import ask, conditions_at

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

    (condition,) = conditions_at(source.module, source.sampler, source.traced).conditions

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


class Stopped(nn.Module):
    """Reads values before it asks for a pair of sizes."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def forward(self, x):
        if self.read(x):
            x = x + 1.0
        if x.shape[0] == 13 and x.shape[1] == 200:
            return x * 2.0
        return x


READS = {
    "a branch": lambda x: x.mean() > 0,
    "a number": lambda x: x.max().item() > 0.5,
    "numpy": lambda x: x.numpy().mean() > 0,
    "a list": lambda x: x[0].tolist()[0] > 0,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_is_asked_after_a_read_of_values_is_found(read):
    source = load(Stopped(read), example_inputs={"x": torch.rand(2, 16)}, dims=DIMS)

    assert {"batch": 13, "sequence": 200} in tried(source)


class Ended(nn.Module):
    """Calls what can't run on fake tensors before it asks for a size."""

    def forward(self, x):
        address = x.data_ptr()
        if x.shape[1] == 200:
            return x * 2.0
        return x if address else x + 1.0


def test_lines_that_could_not_be_followed_are_known():
    source = load(Ended(), example_inputs={"x": torch.rand(2, 16)}, dims=DIMS)
    asked = ask(source.module, source.sampler, source.profile, source.traced, seconds=20.0)
    first = Ended.forward.__code__.co_firstlineno

    assert not asked.is_whole
    assert not any(asked.follows(Line(__file__, first + after)) for after in (1, 2))


def test_all_lines_of_what_comes_to_its_end_are_followed():
    source = asked_by(lambda x: x.shape[1] > 8)
    asked = ask(source.module, source.sampler, source.profile, source.traced, seconds=20.0)

    assert asked.follows(Line("elsewhere.py", 1))


JOINT = {
    "a product": lambda x: x.shape[0] * x.shape[1] == 31 * 509,
    "a sum": lambda x: sum(x.shape) == 31 + 509,
    "a band": lambda x: 15777 < x.shape[0] * x.shape[1] < 15781,
}


@pytest.mark.parametrize("decide", JOINT.values(), ids=JOINT)
def test_a_question_that_turns_at_hardly_any_pair_of_sizes_is_tried_there(decide):
    source = asked_by(decide)

    assert any(decide(torch.empty(one["batch"], one["sequence"])) for one in tried(source))


TAKEN = {
    "a table": lambda x: [0.0, *[1.0] * 600][x.shape[1]] > 0.5,
    "a key": lambda x: {77: True}.get(x.shape[1], False),
    "a name": lambda x: f"{x.shape[1]}" == "77",
    "an array": lambda x: torch.zeros(x.shape[1]).numpy().size == 77,
    "a sum of ones": lambda x: torch.ones(x.shape[1]).sum().item() == 77,
    "a truth": lambda x: bool(torch.ones_like(x[0]).sum() == 77),
    "a part": lambda x: int(x.shape[1] * 0.29) == 77,
    "a count of bytes": lambda x: x.nbytes == 77 * 8,
    "the same size": lambda x: x.is_same_size(torch.zeros(2, 77)),
}


@pytest.mark.parametrize("decide", TAKEN.values(), ids=TAKEN)
def test_a_size_that_is_taken_as_a_number_is_known(decide):
    source = asked_by(decide)

    assert "sequence" in ask(source.module, source.sampler, source.profile, source.traced, seconds=20.0).taken


FOLLOWED = {
    "a part of a tensor": lambda x: x[:, : x.shape[1] // 2].numel() > 5,
    "a question": lambda x: x.shape[1] in (5, 77),
    "a new tensor": lambda x: torch.zeros(x.shape[1], x.shape[0]).dim() == 2,
    "a value": lambda x: x.sum().item() > 0,
    "a constant": lambda x: torch.ones(3).sum().item() > 2,
    "a scale": lambda x: functional.interpolate(x[:, None], scale_factor=2.0).shape[2] == 2 * x.shape[1],
    "a scale of pixels": lambda x: functional.interpolate(x[None, None], scale_factor=2, mode="bilinear").dim() == 4,
    "a layer that upsamples": lambda x: nn.Upsample(scale_factor=2, mode="bicubic")(x[None, None]).dim() == 4,
    "a shape": lambda x: x.reshape(x.shape[0], -1, 1).expand(-1, x.shape[1], 3).shape[2] == 3,
}


@pytest.mark.parametrize("decide", FOLLOWED.values(), ids=FOLLOWED)
def test_a_size_that_stays_one_is_not_taken_as_a_number(decide):
    source = asked_by(decide)

    assert not ask(source.module, source.sampler, source.profile, source.traced, seconds=20.0).taken


UNLIKE = {
    "an instance": lambda x: isinstance(x.shape[1], int) and x.shape[1] == 200,
    "outside of a trace": lambda x: not torch.compiler.is_compiling() and not is_fake(x) and x.size(1) * 2 + 1 == 401,
    "together": lambda x: not is_fake(x) and x.shape[0] + x.shape[1] == 213 and x.shape[0] == 13,
}


def is_fake(x):
    return isinstance(x, torch._subclasses.FakeTensor)


@pytest.mark.parametrize("decide", UNLIKE.values(), ids=UNLIKE)
def test_what_is_asked_on_real_tensors_alone_is_found(decide):
    source = asked_by(decide)

    assert any(one["sequence"] == 200 for one in tried(source))


def test_a_size_that_is_also_fixed_is_not_taken_for_a_dim():
    class Fixed(nn.Module):
        def forward(self, x):
            return x * 2.0 if not is_fake(x) and x.shape[2] == 16 else x

    source = load(Fixed(), example_inputs={"x": torch.rand(2, 16, 16)}, dims=DIMS)

    assert tried(source) == ()
