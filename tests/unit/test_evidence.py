"""Evidence: what is kept of a reference's answers, how small it is, and that what is read is what was saved."""

import numpy as np
import pytest

from onnxwright import evidence
from onnxwright.backends import Ran
from onnxwright.errors import ForwardError
from onnxwright.evidence import MOST_ELEMENTS, collect, digest_of, elements
from onnxwright.profile import Profile
from onnxwright.reference import Reference
from onnxwright.samples import (
    REGIMES,
    Bools,
    Floats,
    Integers,
    Mask,
    Positions,
    Sampler,
    Segments,
    Tokens,
)
from onnxwright.signature import Signature, TensorSpec

ENCODER = Signature(
    inputs=(
        TensorSpec("input_ids", "int64", ("batch", "sequence")),
        TensorSpec("attention_mask", "int64", ("batch", "sequence")),
    ),
    outputs=(
        TensorSpec("last_hidden_state", "float32", ("batch", "sequence", 384)),
        TensorSpec("sentence_embedding", "float32", ("batch", 384)),
    ),
)
MEANINGS = {"input_ids": Tokens("int64", 30522), "attention_mask": Mask("int64")}
PROFILE = Profile(batch=(1, 8, 32), sequence=(1, 128, 512))
LEAST = {"last_hidden_state": 1e-5, "sentence_embedding": 1e-5}


class Encoder:
    """Answers as an encoder would, with numbers that no compression makes smaller; refuses some sizes."""

    ran = Ran("function", "1", "cpu", "float32", 1)

    def __init__(self, refuses=lambda feeds: False):
        self._refuses = refuses

    def run(self, feeds):
        if self._refuses(feeds):
            raise ForwardError("too long")
        rng = np.random.default_rng(int(feeds["input_ids"].sum()))
        states = rng.normal(size=(*feeds["input_ids"].shape, 384)).astype(np.float32)
        return {"last_hidden_state": states, "sentence_embedding": states[:, 0]}


def text(count, length, rng):
    ids = rng.integers(0, 100, (count, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def collected(session=None, ranges=(PROFILE,), **changes):
    sampler = Sampler(ENCODER, MEANINGS, **changes)
    session = session or Encoder()
    return collect(Reference(session, session, "itself"), sampler, ranges, LEAST)


def given(batch, sequence):
    return {"input_ids": np.full((batch, sequence), 7), "attention_mask": np.ones((batch, sequence), np.int64)}


def saved(kept, folder):
    evidence.save(kept, folder / "evidence.npz")
    return evidence.read(folder / "evidence.npz", ENCODER)


def test_of_an_encoder_is_small_and_reaches_every_end(tmp_path):
    kept = collected(text=text, given=(given(2, 16),))

    evidence.save(kept, tmp_path / "evidence.npz")

    assert (tmp_path / "evidence.npz").stat().st_size < 200_000
    for dim, ends in {"batch": (1, 32), "sequence": (1, 512)}.items():
        sizes = [point.recipe.sizes[dim] for point in kept.points]
        assert (min(sizes), max(sizes)) == ends


def test_reaches_the_ends_of_every_engine():
    narrow = Profile(batch=(1, 4, 5), sequence=(3, 100, 100))

    sizes = [point.recipe.sizes for point in collected(ranges=(PROFILE, narrow)).points]

    assert {1, 5, 32} <= {one["batch"] for one in sizes}
    assert {1, 3, 100, 512} <= {one["sequence"] for one in sizes}
    assert sizes.count({"batch": 1, "sequence": 3}) == 1


def test_is_read_as_it_was_saved(tmp_path):
    kept = collected(text=text, given=(given(2, 16),))

    again = saved(kept, tmp_path)

    assert again.sampler.meanings == MEANINGS
    assert [point.recipe for point in again.points] == [point.recipe for point in kept.points]
    for one, other in zip(again.points, kept.points, strict=True):
        assert one.is_drawn_alike(again.sampler)
        assert (one.shapes, one.limits) == (other.shapes, other.limits)
        for name in LEAST:
            np.testing.assert_array_equal(one.elements[name], other.elements[name])


def test_holds_texts_and_given_inputs_and_draws_the_others(tmp_path):
    again = saved(collected(text=text, given=(given(2, 16),)), tmp_path)

    stored = {point.recipe.values.name: point for point in again.points if point.recipe.is_stored}

    assert set(stored) == {"text", "given"}
    assert stored["text"].recipe.sizes == {"batch": 8, "sequence": 128}
    np.testing.assert_array_equal(stored["given"].stored["input_ids"], given(2, 16)["input_ids"])
    assert all(not point.stored for point in again.points if not point.recipe.is_stored)


@pytest.mark.parametrize("sizes", [(33, 16), (32, 512)])
def test_leaves_out_given_inputs_that_are_out_of_range_or_large(sizes):
    points = collected(given=(given(*sizes),)).points

    assert [point for point in points if point.recipe.is_stored] == []


def test_leaves_out_what_the_reference_refuses():
    points = collected(Encoder(lambda feeds: feeds["input_ids"].shape[1] > 300)).points

    assert max(point.recipe.sizes["sequence"] for point in points) == 128


def test_other_inputs_are_noticed():
    (first, *_) = collected().points
    other = Sampler(ENCODER, {**MEANINGS, "input_ids": Tokens("int64", 30521)})

    assert not first.is_drawn_alike(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": np.zeros(4)}, {"y": np.zeros(4)}),
        ({"x": np.zeros(4)}, {"x": np.zeros((2, 2))}),
        ({"x": np.zeros(2, np.int64)}, {"x": np.zeros(2, np.float64)}),
        ({"x": np.array([1.0, 2.0])}, {"x": np.array([2.0, 1.0])}),
    ],
)
def test_digests_tell_names_shapes_types_and_values_apart(one, other):
    assert digest_of(one) != digest_of(other)
    assert digest_of(one) == digest_of({name: array.copy() for name, array in one.items()})


@pytest.mark.parametrize("size", [0, 1, MOST_ELEMENTS, MOST_ELEMENTS + 1, 3 * MOST_ELEMENTS - 1, 1_000_003])
def test_kept_elements_are_spread_over_an_output(size):
    kept = elements(np.arange(size), MOST_ELEMENTS)

    assert len(kept) == min(size, MOST_ELEMENTS)
    assert size <= MOST_ELEMENTS or np.diff(kept).max() <= 2 * size / MOST_ELEMENTS + 1
    assert size <= MOST_ELEMENTS or (kept.min() <= size / MOST_ELEMENTS and kept.max() < size)


def test_kept_elements_reach_every_column():
    columns = np.broadcast_to(np.arange(384), (1024, 384))

    assert len(np.unique(elements(columns, 1024))) > 300


@pytest.mark.parametrize(
    "meaning",
    [
        Floats("float32", 0.5, 2.0, is_positive=True),
        Integers("int32", -3, 9),
        Bools(),
        Mask("int64"),
        Tokens("int64", 50, 3),
        Segments("int64", 2),
        Positions("int64"),
    ],
)
def test_every_meaning_draws_the_same_after_a_journey(tmp_path, meaning):
    dtype = getattr(meaning, "dtype", "bool")
    signature = Signature((TensorSpec("x", dtype, ("rows", 5)),), (TensorSpec("y", "float32", ("rows",)),))
    before = Sampler(signature, {"x": meaning})
    evidence.save(evidence.Kept(before, []), tmp_path / "evidence.npz")

    after = evidence.read(tmp_path / "evidence.npz", signature).sampler

    assert after.meanings == before.meanings
    for values in REGIMES:
        np.testing.assert_array_equal(after.draw({"rows": 3}, values)["x"], before.draw({"rows": 3}, values)["x"])
