"""What is left out for lack of time is told."""

import torch
from torch import nn

from onnxwright.stages.load import load
from onnxwright.watching.examination import examine


def source():
    return load(nn.Linear(4, 4), example_inputs={"input": torch.rand(2, 4)}, dims={"input": {0: "batch"}})


def test_calls_after_others_that_time_does_not_allow_are_told():
    found = examine(source(), threads=1, seconds=-1.0)

    assert [one.code for one in found] == ["not-tried"]
    assert "depends on calls before it was not tried, for lack of time, at batch" in found[0].message
    assert "more." in found[0].message


def test_nothing_is_told_where_all_was_tried():
    assert examine(source(), threads=1, seconds=30.0) == ()
