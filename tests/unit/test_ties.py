"""Whether a module picks among equal elements."""

import pytest
import torch

from onnxwright.pytorch.ties import Ties, Turned

APART = torch.tensor([[3.0, 1.0, 2.0], [5.0, 6.0, 4.0]])
TIED = torch.tensor([[3.0, 1.0, 1.0], [5.0, 6.0, 4.0]])


@pytest.mark.parametrize(
    "pick",
    [
        lambda x: x.topk(2),
        lambda x: torch.topk(x, k=2, dim=-1, largest=False),
        lambda x: x.sort(),
        lambda x: x.argsort(dim=1),
        lambda x: x.kthvalue(2),
    ],
)
def test_equal_elements_are_ties_where_something_picks_among_them(pick):
    with Ties() as apart:
        pick(APART)
    with Ties() as tied:
        pick(TIED)

    assert not apart.is_found
    assert tied.is_found


CLOSE = torch.tensor([[3.0, 1.0, 1.000001], [5.0, 6.0, 4.0]])


@pytest.mark.parametrize(
    ("pick", "is_close"),
    [
        (lambda x: x.topk(2), True),
        (lambda x: x.sort(), True),
        (lambda x: x.min(dim=1), True),
        (lambda x: x.argmin(), True),
        (lambda x: x.argmax(1), False),
        (lambda x: x.topk(1), False),
    ],
)
def test_elements_that_differ_by_rounding_are_close_where_something_picks_among_them(pick, is_close):
    with Ties() as watch:
        pick(CLOSE)

    assert not watch.is_found
    assert watch.is_close is is_close


@pytest.mark.parametrize("masked", [-float("inf"), torch.finfo(torch.float32).min])
def test_elements_that_are_equal_or_masked_are_not_close(masked):
    with Ties() as watch:
        TIED.sort()
        torch.tensor([[3.0, 1.0, masked, masked], [masked, 5.0, 6.0, 4.0]]).sort()
        torch.tensor([[3, 1, 2]]).sort()

    assert not watch.is_close


def test_equal_elements_below_those_that_are_picked_are_no_ties():
    with Ties() as watch:
        TIED.topk(1)

    assert not watch.is_found


PICKING = [
    lambda x: x.topk(2, largest=False),
    lambda x: x.sort(),
    lambda x: x.sort(dim=0, descending=True),
    lambda x: x.kthvalue(2),
    lambda x: x.median(1),
    lambda x: x.max(1),
]


@pytest.mark.parametrize("pick", PICKING)
def test_others_are_taken_of_equal_elements_alone(pick):
    expected = pick(APART)

    with Turned(1):
        values, places = pick(APART)

    assert torch.equal(values, expected[0])
    assert torch.equal(places, expected[1])


@pytest.mark.parametrize(("pick", "turns"), [*((pick, True) for pick in PICKING[:2]), (PICKING[-1], False)])
def test_equal_elements_change_places_where_pytorch_defines_none(pick, turns):
    expected, places = pick(TIED), []

    for seed in range(6):
        with Turned(seed):
            answered = pick(TIED)
        assert torch.equal(answered[0], expected[0])
        places.append(answered[1])

    assert any(not torch.equal(one, expected[1]) for one in places) is turns


@pytest.mark.parametrize(("number", "expected"), [(0, [0, 1, 2]), (1, [5, 4, 3])])
@pytest.mark.parametrize("pick", [lambda x: x.topk(3), lambda x: torch.topk(x, 3, 0, False, True), torch.sort])
def test_the_first_and_the_last_of_equal_elements_are_taken_before_others(pick, number, expected):
    with Turned(number):
        _, places = pick(torch.ones(6))

    assert places[:3].tolist() == expected
