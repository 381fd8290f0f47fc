"""A way to a graph is a value that can be written, read and replayed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwright.approach import Approach, Fix, parse
from onnxwright.errors import UsageError
from onnxwright.repairs import rank_of

WORDS = st.text("abcdefgh _<>=|%.,0123456789", min_size=1).map(str.strip).filter(bool)
FIXES = st.builds(Fix, st.sampled_from(["piecewise", "operators"]), WORDS)


@given(st.builds(Approach, st.sampled_from(["trace", "dynamo"]), st.integers(9, 23), st.lists(FIXES).map(tuple)))
def test_what_is_written_is_read_back(approach):
    assert parse(str(approach)) == approach


def test_is_written_as_a_person_would():
    mended = Approach("trace", 18).mended(Fix("piecewise", "sequence > 8")).mended(Fix("operators", "chunk, round"))

    assert str(mended) == "trace@18; piecewise=sequence > 8; operators=chunk, round"
    assert mended.has("operators")
    assert not mended.has("scripting")


@pytest.mark.parametrize("text", ["", "trace", "trace@x", "18@trace", "; piecewise=1"])
def test_what_is_no_attempt_is_refused(text):
    with pytest.raises(UsageError, match=r"expected one as a package's journal writes it"):
        parse(text)


PIECE, FLOW = Fix("piecewise", "sequence > 1"), Fix("control-flow", "model.py:3")


def test_what_a_repair_that_decides_has_left_open_is_tried_soon():
    assert rank_of([FLOW, PIECE]) - rank_of([FLOW]) < rank_of([PIECE]) / 4


@pytest.mark.parametrize("others", [[], [Fix("untold", "tracing")]])
def test_pieces_wait_where_nothing_decides_before_them(others):
    assert rank_of([*others, PIECE]) - rank_of(others) == rank_of([PIECE])
