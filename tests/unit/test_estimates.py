"""Ranks, shares and intervals, held to numbers that are known."""

import numpy as np
import pytest

from onnxwright.estimates import bootstrap, mean_of, ranks, ratio_of, spearman, widest, wilson


def test_equal_values_share_a_rank():
    assert ranks(np.array([10.0, 30.0, 10.0, 20.0])).tolist() == [0.5, 3.0, 0.5, 2.0]


def test_a_rank_correlation_is_that_of_the_ranks():
    first = np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    assert spearman(first, np.exp(first)) == pytest.approx(1.0)
    assert spearman(first, -first) == pytest.approx(-1.0)
    assert spearman(first, np.array([1.0, 2.0, 3.0, 5.0, 4.0])) == pytest.approx(0.9)
    assert np.isnan(spearman(first, np.zeros(5)))


@pytest.mark.parametrize(
    ("hits", "count", "interval"),
    [(0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (5, 10, (0.2366, 0.7634)), (0, 0, (0.0, 1.0))],
)
def test_the_interval_of_a_share_is_wilsons(hits, count, interval):
    assert wilson(hits, count) == pytest.approx(interval, abs=1e-4)


def test_a_bootstrap_holds_the_mean_and_is_as_wide_as_its_error():
    values = np.random.default_rng(0).normal(2.0, 1.0, 400)

    low, high = bootstrap(mean_of(values), 400)

    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_a_bootstrap_is_the_same_for_the_same_seed():
    statistic = mean_of(np.arange(10.0))

    assert bootstrap(statistic, 10) == bootstrap(statistic, 10)
    assert bootstrap(statistic, 10, seed=1) != bootstrap(statistic, 10)


def test_nothing_is_known_of_one_sample():
    assert bootstrap(mean_of(np.arange(1.0)), 1) is None
    assert bootstrap(lambda _: np.nan, 5) is None


def test_a_bootstrap_leaves_out_what_is_no_number():
    values = np.array([1.0, 1.0, 2.0])

    assert bootstrap(lambda chosen: spearman(values[chosen], values[chosen]), 3) == pytest.approx((1.0, 1.0))


def test_a_ratio_is_of_sums():
    ratio = ratio_of(np.array([1.0, 3.0]), np.array([2.0, 6.0]))

    assert ratio(np.array([0, 1, 1])) == 0.5
    assert ratio_of(np.zeros(2), np.zeros(2))(np.array([0, 1])) == 0.0
    assert ratio_of(np.zeros(2), np.zeros(2), empty=1.0)(np.array([0, 1])) == 1.0


def test_the_widest_interval_holds_the_others():
    assert widest((0.1, 0.2), None, (0.0, 0.15)) == (0.0, 0.2)
    assert widest(None) is None
