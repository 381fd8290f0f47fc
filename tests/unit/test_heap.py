"""What the garbage collector is kept from searching is found all the same, and searched again afterwards."""

import gc

import pytest

from onnxwright import heap


@pytest.fixture(autouse=True)
def thawed():
    gc.unfreeze()


def is_among(objects, wanted):
    return any(one is wanted for one in objects)


def test_what_is_at_rest_is_found_and_searched_again_afterwards():
    before = [object()]

    with heap.at_rest():
        assert not is_among(gc.get_objects(), before), "the collector leaves it alone"
        assert is_among(heap.objects(), before)
        later = [object()]
        with heap.at_rest():
            assert is_among(heap.objects(), later)
        assert gc.get_freeze_count(), "the inner one does not end it"

    assert not gc.get_freeze_count()
    assert is_among(gc.get_objects(), before)
    assert is_among(heap.objects(), later)


def test_what_a_program_has_frozen_itself_stays_so():
    thing = [object()]
    gc.freeze()
    try:
        with heap.at_rest():
            pass
        assert gc.get_freeze_count()
        assert is_among(heap.objects(), thing)
    finally:
        gc.unfreeze()
