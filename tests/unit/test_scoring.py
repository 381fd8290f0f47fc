"""Samples are asked of the reference once; of a model that answers much to each, no more than memory may hold."""

import numpy as np
import pytest

from onnxwright.corpus import FEW, Corpus
from onnxwright.losses import loss_of
from onnxwright.signature import Signature, TensorSpec
from onnxwright.stages.lowering import scoring
from onnxwright.stages.lowering.scoring import Scoring

COUNT, LENGTH, WORDS = 24, 7, 40
TEXT = ("batch", "sequence")
SIGNATURE = Signature((TensorSpec("input_ids", "int64", TEXT),), (TensorSpec("logits", "float32", (*TEXT, WORDS)),))
LOSS = loss_of("text-generation", SIGNATURE)


class Counted:
    """A session that answers the same to the same, with a count of its calls."""

    calls = 0

    def run(self, feeds):
        self.calls += 1
        ids = feeds["input_ids"]
        return {"logits": np.random.default_rng(ids.sum()).normal(size=(*ids.shape, WORDS)).astype(np.float32)}


def corpus(labels=()):
    rng = np.random.default_rng(0)
    made = [{"input_ids": rng.integers(0, WORDS, (1, LENGTH))} for _ in range(COUNT)]
    return Corpus(made, made[::-1], "here", labels)


@pytest.fixture
def scarce(monkeypatch):
    """Memory for the answers to ten samples of seven places with 40 logits each."""
    size = LENGTH * WORDS * 4
    monkeypatch.setattr(scoring, "CALIBRATING_BYTES", 5 * size)
    monkeypatch.setattr(scoring, "JUDGING_BYTES", 10 * size)


def test_all_samples_are_asked_where_there_is_room():
    session = Counted()

    found = Scoring.of(LOSS, corpus(), session)

    assert session.calls == 2 * COUNT
    assert len(found.judged) == len(found.corpus.judged) == COUNT
    assert not [one for one in found.findings if one.code == "samples-left-out"]


def test_fewer_are_asked_where_answers_are_large_and_that_is_told(scarce):
    session = Counted()

    found = Scoring.of(LOSS, corpus(), session)

    assert session.calls == FEW + 10
    assert len(found.calibration) == len(found.calibrated) == FEW
    assert len(found.judged) == len(found.corpus.judged) == 10
    (told,) = [one for one in found.findings if one.code == "samples-left-out"]
    assert f"10 of {COUNT} judge" in told.message
    assert found.judge(session).loss == 0.0
    assert found.judge(session).samples == 10


@pytest.mark.parametrize(("labels", "calls"), [(24, 10), (12, 10), (8, 9), (48, 10)])
def test_labels_stay_with_their_samples(labels, calls):
    found = scoring._with_fewer_judged(corpus(list(range(labels))), 10)

    assert len(found.judged) == calls
    assert found.labels == list(range(labels * calls // COUNT))


def test_fewer_samples_are_the_first_ones():
    whole = corpus()

    assert scoring._with_fewer_judged(whole, COUNT) is whole
    kept = scoring._with_fewer_judged(whole, 3).judged
    assert all(
        np.array_equal(one["input_ids"], other["input_ids"]) for one, other in zip(kept, whole.judged[:3], strict=True)
    )
