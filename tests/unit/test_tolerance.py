"""How far two answers lie apart."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from onnxwright import tolerance
from onnxwright.tolerance import (
    EXACT,
    FLOOR_MULTIPLE,
    LEAST_LIMIT,
    MOST_LIMIT,
    SAME_HALF,
    SAME_PRECISION,
    coarse_distance,
    distance,
    overall_distance,
    quantized,
)

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
    assert SAME_PRECISION.limit(0.0) == LEAST_LIMIT
    assert SAME_PRECISION.limit(1e-4) == pytest.approx(FLOOR_MULTIPLE * 1e-4)


def test_what_computes_in_float16_is_held_to_less_of_much_noise_and_told_from_wrong_answers_for_longer():
    assert SAME_HALF.limit(1e-7) == LEAST_LIMIT
    assert SAME_HALF.limit(1e-4) == SAME_PRECISION.limit(1e-4)
    assert SAME_HALF.limit(1e-3) == MOST_LIMIT
    assert SAME_HALF.limit(5e-3) == pytest.approx(8 * 5e-3)
    assert not SAME_HALF.hides(5e-3)
    assert SAME_HALF.hides(2e-2)
    assert SAME_PRECISION.hides(1e-3)
    assert all(one.hides(noise) for one in (SAME_HALF, SAME_PRECISION) for noise in (np.inf, np.nan))


def plain_distance(reference, candidate):
    """The formula as it is written, on whole arrays."""
    expected, answered = (array.astype(np.result_type(array, np.float64)) for array in (reference, candidate))
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], answered[~finite], equal_nan=True):
        return np.inf
    if not np.isfinite(answered[finite]).all():
        return np.inf
    if not finite.any():
        return 0.0
    magnitude = np.abs(np.where(finite, expected, 0.0))
    nonzero = magnitude[magnitude > 0]
    scale = np.median(nonzero) if nonzero.size else 1.0
    if nonzero.size and magnitude.ndim > 1 and magnitude[..., 0].size >= 8:
        columns = np.median(magnitude.reshape(-1, magnitude.shape[-1]), axis=0)
        scale = np.where(columns > 0, np.clip(columns, 1e-3 * scale, scale), scale)
    error = np.abs(np.where(finite, answered, 0.0) - np.where(finite, expected, 0.0))
    return (error / (magnitude + scale)).max()


SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, max_side=11)
NUMBERS = st.floats(-1e3, 1e3, width=16) | st.sampled_from([np.nan, np.inf, 0.0, 1e-3])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
@given(st.data())
def test_in_blocks_the_distance_is_the_formula_s(dtype, data):
    kind = np.float32 if dtype is np.complex64 else dtype
    reference = np.asarray(data.draw(arrays.arrays(kind, SHAPES, elements=NUMBERS)), dtype)
    noise = np.asarray(np.random.default_rng(0).normal(1.0, 0.1, reference.shape))
    candidate = np.asarray(reference * noise.astype(kind), dtype)
    if dtype is np.complex64:
        reference, candidate = reference + 1j * noise.astype(np.float32), candidate + 1j * noise.astype(np.float32)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tolerance, "_BLOCK", 7)
        found = distance(reference.astype(dtype), candidate.astype(dtype))

    assert found == pytest.approx(plain_distance(reference, candidate), rel=1e-12)


def test_a_large_output_is_compared_without_copies_of_it_in_float64():
    reference = np.random.default_rng(0).normal(size=(6, 1000, 1000)).astype(np.float32)
    wrong = reference.copy()
    wrong[5, 999, 999] += 0.1

    tracemalloc.start()
    found = distance(reference, wrong)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found > 0.01
    assert peak < 4 * reference.nbytes, "twelve copies' worth before"


def test_a_coarse_distance_is_relative_to_the_greatest():
    wrong = ANSWER.copy()
    wrong[3, 3] += 0.5

    assert coarse_distance(ANSWER, wrong) == pytest.approx(0.5 / np.abs(ANSWER).max(), rel=1e-6)
    assert coarse_distance(np.zeros(3), np.zeros(3)) == 0.0


def test_whole_numbers_have_no_limit_but_equality():
    assert EXACT.limit(0.0) == 0.0
    assert SAME_PRECISION.limit(0.0) > 0.0


def test_the_overall_distance_is_the_error_of_the_whole_tensor():
    reference = np.array([[3.0, -4.0], [0.0, 5.0]], np.float32)
    answered = reference + np.array([[0.5, 0.0], [0.0, 0.0]], np.float32)

    assert overall_distance(reference, answered) == pytest.approx(0.5 / np.sqrt(50))
    assert overall_distance(reference, reference) == 0.0
    assert overall_distance(np.zeros(2, np.float32), np.ones(2, np.float32)) == np.inf
    assert overall_distance(reference, np.where(reference == 0, np.nan, reference).astype(np.float32)) == np.inf
    assert overall_distance(reference, reference[:1]) == np.inf


def test_whole_numbers_are_apart_by_the_share_that_surely_differs():
    reference = np.arange(1000)
    few, half = reference.copy(), reference.copy()
    few[:3], half[:500] = -1, -1

    assert overall_distance(reference, reference) == 0.0
    assert 0 < overall_distance(reference, few) < 0.003
    assert 0.4 < overall_distance(reference, half) < 0.5
    assert overall_distance(np.array([1]), np.array([2])) == pytest.approx(1 / (1 + 3.290527**2))
    assert overall_distance(np.array([1, 2]), np.array([1])) == np.inf


def test_what_floats_decide_may_differ_as_often_as_on_samples_and_all_else_is_equal():
    held = quantized({"logits": 0.01, "label": 0.03, "length": 0.0}, {"label"})

    assert held.of_whole_numbers("label").limit(np.inf) == pytest.approx(0.3)
    assert held.of_whole_numbers("length") is EXACT
    assert held.limit(0.0) == pytest.approx(0.1)
    assert quantized({"label": 0.0}, {"label"}).of_whole_numbers("label").limit(0.0) == 0.1


def test_int8_is_held_to_ten_times_its_error_on_samples():
    held = quantized({"states": 0.01, "pooled": 0.001})

    assert held.is_overall
    assert held.is_for_usual
    assert held.limit(0.0) == held.limit(1.0) == pytest.approx(0.1)
    assert quantized({"states": 1e-6}).limit(0.0) == 0.02
    assert quantized({"states": 3.0}).limit(0.0) == 0.5


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ([1.0, 2.0, 100.0], [1.0, 2.1, 100.0], [False, True, False]),
        ([1.0, 2.0, 100.0], [1.0, 2.0, 100.001], [False, False, False]),
        ([np.nan, np.inf, 1.0], [np.nan, np.inf, np.nan], [False, False, True]),
        ([np.inf, 1.0, 1.0], [-np.inf, np.inf, 1.0], [True, True, False]),
    ],
)
def test_elements_that_differ_are_told_from_those_that_dont(reference, candidate, expected):
    arrays = [np.array(one, np.float32) for one in (reference, candidate)]

    assert tolerance.differing(*arrays, 1e-3).tolist() == expected


def test_whole_numbers_differ_where_they_are_not_equal():
    assert tolerance.differing(np.array([1, 2]), np.array([1, 3]), 1e-3).tolist() == [False, True]
