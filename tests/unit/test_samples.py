"""What inputs hold: flags, and the numbers that something is compared with."""

import dataclasses

import numpy as np

from onnxwright.samples import Bools, Floats, Integers, Mask, Sampler, Values, meaning_of
from onnxwright.signature import Signature, TensorSpec

AXES = ("batch", "sequence")
FLAGGED = Signature((TensorSpec("x", "float32", AXES), TensorSpec("pad", "bool", AXES)), ())
FLAG_SAMPLER = Sampler(FLAGGED, {"x": Floats("float32"), "pad": Bools()})
SIZES = {"batch": 3, "sequence": 40}


def regime(sampler, name):
    return sampler.draw(SIZES, next(values for values in sampler.regimes if values.name == name))


def test_flags_are_true_and_false_throughout_in_all_rows_and_in_one():
    assert regime(FLAG_SAMPLER, "true throughout")["pad"].all()
    assert not regime(FLAG_SAMPLER, "masked throughout")["pad"].any()
    assert regime(FLAG_SAMPLER, "one row true throughout")["pad"].all(1).tolist() == [False, False, True]
    assert regime(FLAG_SAMPLER, "one row masked throughout")["pad"].any(1).tolist() == [True, True, False]


def test_flags_turn_once_in_a_row_where_rows_are_padded():
    for name, first in (("padded right", True), ("padded left", False)):
        turns = np.diff(regime(FLAG_SAMPLER, name)["pad"].astype(int), axis=1)
        assert (np.abs(turns).sum(1) <= 1).all()
        assert (turns <= 0 if first else turns >= 0).all()


def test_a_source_without_flags_is_not_drawn_twice_for_them():
    plain = Sampler(FLAGGED, {"x": Floats("float32"), "pad": Mask("bool")})

    assert "true throughout" not in [values.name for values in plain.regimes]


def test_whole_numbers_of_zero_and_one_are_flags():
    assert meaning_of(np.array([[0, 1], [1, 1]]), name="pad") == Bools("int64")
    assert meaning_of(np.array([0, 1, 1]), name="labels") == Integers("int64", 0, 1)


def test_numbers_that_something_is_compared_with_stand_here_and_there_with_their_neighbours():
    sampler = dataclasses.replace(FLAG_SAMPLER, numbers=(-999.0, 0.5))

    x = regime(sampler, "compared numbers")["x"]

    planted = np.float32(-999.0), np.nextafter(np.float32(0.5), np.float32(1)), np.float32(0.5)
    assert all((x == number).any() for number in planted)
    assert 0 < (x == -999.0).mean() < 0.5
    assert "compared numbers" not in [values.name for values in FLAG_SAMPLER.regimes]


def test_whole_numbers_take_whole_ones_alone():
    among = Values("compared numbers", numbers=(77.0, 0.5))
    drawn = Integers("int64", 0, 9).draw((200,), among, np.random.default_rng(0), {})

    assert 77 in drawn
    assert set(drawn.tolist()) <= {*range(10), 77}


def test_numbers_that_something_is_compared_with_fill_whole_rows_and_the_last_sample():
    (values,) = [one for one in dataclasses.replace(FLAG_SAMPLER, numbers=(1.0,)).regimes if one.is_by_row]
    for meaning in (Integers("int64", 0, 50), Floats("float32")):
        rows = meaning.draw((8, 20, 6), values, np.random.default_rng(0), {})

        is_full = (rows == 1).all(axis=2)
        assert is_full[-1].all()
        assert 0.3 < is_full[:-1].mean() < 0.7
        assert (rows[:-1] != 1).mean() > 0.3


def test_a_single_row_of_one_axis_is_not_always_the_number():
    (values,) = [one for one in dataclasses.replace(FLAG_SAMPLER, numbers=(1.0,)).regimes if one.is_by_row]
    drawn = [Integers("int64", 0, 50).draw((20,), values, np.random.default_rng(seed), {}) for seed in range(20)]

    assert 0 < sum(bool((one == 1).all()) for one in drawn) < 20
