"""A graph answers how large its numbers are, whatever they are."""

import math

import numpy as np
import onnx_ir as ir
import pytest
from cases.functions import FunctionSession
from cases.graphs import answers, model

from onnxwright.errors import UsageError
from onnxwright.graph.guarding import invalidity
from onnxwright.graph.precision.observing import LEAST, SUFFIX, observed, ranges

TEXT = "g (float[n] x) => (float[n] y) { a = Abs (x) y = Mul (a, a) }"


def seen(text, *feeds, opset=18):
    watching = observed(model(text, opset=opset))
    assert not invalidity(watching)
    return ranges(FunctionSession(lambda one: answers(watching, one)), feeds)


def of(*numbers):
    return {"x": np.array(numbers, np.float32)}


@pytest.mark.parametrize("opset", [12, 13, 18, 23])
def test_tells_largest_and_least_over_all_samples(opset):
    found = seen(TEXT, of(1, -3, 0), of(0.5, 2), opset=opset)

    assert found.samples == 2
    assert found.by_name.keys() == {"x", "a", "y"}
    assert found.by_name["y"].largest == 9.0
    assert found.by_name["y"].least == 0.25
    assert found.by_name["y"].size == 3


def test_what_is_not_finite_is_told_and_counts_for_nothing():
    found = seen(TEXT, of(1, math.nan, math.inf)).by_name["x"]

    assert (found.largest, found.least) == (1.0, 1.0)
    assert found.not_finite == pytest.approx(0.5)


def test_what_vanishes_is_told_as_a_share():
    found = seen(TEXT, of(1, LEAST / 2, LEAST)).by_name["x"]

    assert found.vanishing == pytest.approx(0.25)
    assert found.least == LEAST / 2


@pytest.mark.parametrize("numbers", [(), (0, 0)], ids=["nothing", "zeros"])
def test_of_nothing_and_of_zeros_nothing_is_told(numbers):
    found = seen(TEXT, of(*numbers)).by_name["y"]

    assert (found.largest, found.least, found.size) == (0.0, math.inf, len(numbers))


def test_a_lone_number_has_a_range():
    assert seen("g (float x) => (float y) { y = Neg (x) }", {"x": np.array(-2, np.float32)}).by_name["y"].largest == 2.0


def test_the_graph_answers_what_it_answered_and_stays_as_it_is():
    before = model(TEXT)
    text = ir.to_proto(before).SerializeToString()

    found = answers(observed(before), of(1, 2))

    assert ir.to_proto(before).SerializeToString() == text
    assert np.array_equal(found["y"], [1, 4])
    assert set(found) == {"y", *(f"{name}{SUFFIX}" for name in "xay")}


def test_branches_and_whole_numbers_are_not_watched():
    found = seen(
        """g (float[n] x, bool b, int64 i) => (float[n] y, int64 j) { j = Neg (i) y = If (b) <
        then_branch = t () => (float[n] p) { p = Neg (x) }, else_branch = e () => (float[n] q) { q = Abs (x) }> }""",
        {**of(1, 2), "b": np.array(True), "i": np.array(3)},
    )

    assert found.by_name.keys() == {"x", "y"}


def test_without_samples_there_are_no_ranges():
    with pytest.raises(UsageError, match="measured on samples, and there are none"):
        seen(TEXT)
