"""How far two answers lie apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwright.tolerance import FLOOR_MULTIPLE, LEAST_LIMIT, distance, limit

RNG = np.random.default_rng(0)
ANSWER = RNG.normal(size=(4, 50)).astype(np.float32)


def test_equal_answers_are_not_apart():
    assert distance(ANSWER, ANSWER.copy()) == 0.0


def test_one_wrong_element_among_many_is_seen():
    wrong = ANSWER.copy()
    wrong[2, 17] += 0.1

    assert distance(ANSWER, wrong) > 0.01


def test_a_hundredfold_answer_is_far_away():
    assert distance(ANSWER, 100 * ANSWER) > 10


@given(st.floats(1e-20, 1e20))
def test_the_scale_of_an_output_does_not_matter(scale):
    wrong = ANSWER.astype(np.float64)
    wrong[0, 0] *= 1.01

    assert distance(ANSWER * np.float64(scale), wrong * scale) == pytest.approx(distance(ANSWER * np.float64(1), wrong))


def test_few_huge_elements_do_not_hide_an_error():
    masked = ANSWER.copy()
    masked[:, -1] = -1e9
    wrong = masked.copy()
    wrong[0, 0] += 1.0

    assert distance(masked, wrong) > 0.1


def test_many_zeros_do_not_hide_an_error():
    sparse = np.zeros((100, 100), np.float32)
    sparse[0, :3] = (1.0, 2.0, 3.0)
    wrong = sparse.copy()
    wrong[50, 50] = 0.01

    assert distance(sparse, wrong) > 1e-3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_never_equals_what_is_not_finite(value):
    other = ANSWER.copy()
    other[1, 1] = value

    assert distance(ANSWER, other) == np.inf
    assert distance(other, ANSWER) == np.inf
    assert distance(other, other.copy()) == 0.0


def test_infinities_of_other_sign_differ():
    assert distance(np.array([np.inf, 1.0]), np.array([-np.inf, 1.0])) == np.inf


@pytest.mark.parametrize(
    "other",
    [ANSWER[:, :-1], ANSWER.T, ANSWER.astype(np.float64), ANSWER[None]],
    ids=["short", "turned", "wide", "deep"],
)
def test_another_shape_or_type_is_infinitely_far(other):
    assert distance(ANSWER, other) == np.inf


def test_whole_numbers_and_booleans_are_equal_or_not():
    ids = np.arange(5)

    assert distance(ids, ids.copy()) == 0.0
    assert distance(ids, ids[::-1]) == np.inf
    assert distance(ids > 2, ids > 3) == np.inf


def test_an_empty_answer_equals_an_empty_answer():
    assert distance(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0


def test_the_limit_follows_the_noise_and_has_a_least():
    assert limit(0.0) == LEAST_LIMIT
    assert limit(1e-4) == pytest.approx(FLOOR_MULTIPLE * 1e-4)
