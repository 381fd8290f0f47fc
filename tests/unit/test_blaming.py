"""The steps that are to blame are found, and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwright.graph.blaming import to_blame

STEPS = ("a", "b", "c", "d", "e")


@given(st.sets(st.sampled_from(STEPS)))
def test_each_step_that_is_wrong_by_itself_is_found_and_no_other(wrong):
    found = to_blame(STEPS, lambda steps: bool(wrong & set(steps)))

    assert set(found) == wrong
    assert len(found) == len(wrong)


@pytest.mark.parametrize("pair", [("a", "b"), ("a", "e"), ("b", "d")])
def test_of_two_that_are_wrong_together_the_later_is_rolled_back(pair):
    assert to_blame(STEPS, lambda steps: set(pair) <= set(steps)) == (pair[1],)


def test_where_it_is_wrong_without_any_none_is_to_blame():
    assert to_blame(STEPS, lambda steps: True) is None


def test_where_many_are_wrong_they_are_not_told_apart():
    assert to_blame(STEPS, lambda steps: bool({"a", "c"} & set(steps)), most=2) == ("a", "c")
    assert to_blame(STEPS, lambda steps: bool({"a", "c", "e"} & set(steps)), most=2) == STEPS


def test_one_step_among_many_is_found_by_halving():
    asked = []
    steps = [str(number) for number in range(64)]

    def fails(some):
        asked.append(some)
        return "37" in some

    assert to_blame(steps, fails) == ("37",)
    assert len(asked) <= 9
