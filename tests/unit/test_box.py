"""The largest box in which everything agrees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwright.proof.box import clamped, contains, largest_box, nearest

WHOLE = {"batch": (1, 32), "sequence": (1, 512)}
ANCHOR = {"batch": 8, "sequence": 128}
GRID = [{"batch": b, "sequence": s} for b in (1, 2, 3, 8, 16, 31, 32) for s in (1, 7, 8, 9, 64, 76, 77, 78, 128, 512)]


def box_of(is_right):
    agreed = [point for point in GRID if is_right(point)]
    failed = [point for point in GRID if not is_right(point)]
    return largest_box(WHOLE, agreed, failed, ANCHOR, is_right)


def test_keeps_the_whole_where_all_agree():
    assert box_of(lambda point: True) == WHOLE


def test_cuts_at_the_size_that_agreed_next_to_the_failure():
    assert box_of(lambda point: point["sequence"] > 8) == {"batch": (1, 32), "sequence": (9, 512)}


def test_blames_the_dim_that_a_failure_follows():
    box = box_of(lambda point: point["sequence"] != 77)

    assert box == {"batch": (1, 32), "sequence": (78, 512)}


def test_cuts_several_dims():
    box = box_of(lambda point: point["batch"] < 32 and point["sequence"] >= 7)

    assert box == {"batch": (1, 31), "sequence": (7, 512)}


def test_cuts_one_dim_where_only_both_together_fail():
    box = box_of(lambda point: point["batch"] * point["sequence"] <= 8 * 512)

    assert box in ({"batch": (1, 8), "sequence": (1, 512)}, {"batch": (1, 32), "sequence": (1, 128)})


def test_is_none_where_the_anchor_fails():
    assert largest_box(WHOLE, [], [ANCHOR], ANCHOR, lambda _: False) is None


@given(st.sets(st.sampled_from(range(len(GRID))), max_size=30))
def test_never_holds_a_failure_and_always_the_anchor(wrong):
    failed = [GRID[place] for place in wrong if GRID[place] != ANCHOR]
    agreed = [point for point in GRID if point not in failed]

    box = largest_box(WHOLE, agreed, failed, ANCHOR, lambda point: point in agreed)

    assert box is not None
    assert contains(box, ANCHOR)
    assert not any(contains(box, point) for point in failed)


@pytest.mark.parametrize(("point", "expected"), [((40, 600), (32, 512)), ((0, 5), (1, 5)), ((8, 128), (8, 128))])
def test_clamps_to_the_nearest_point(point, expected):
    assert tuple(clamped(WHOLE, dict(zip(WHOLE, point, strict=True))).values()) == expected


def test_nearest_goes_by_ratio():
    points = [{"sequence": 1}, {"sequence": 60}, {"sequence": 400}]

    assert nearest(points, {"sequence": 128}) == {"sequence": 60}
    assert nearest([], {"sequence": 128}) is None
