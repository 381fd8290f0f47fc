"""What variants lose on samples: with the half that they are made with, and with the half that judges them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from onnxwright import tolerance
from onnxwright.backends import Array, Session, Tensors
from onnxwright.corpus import FEW, Corpus
from onnxwright.dtypes import is_float
from onnxwright.errors import ForwardError, UsageError
from onnxwright.estimates import root_mean_square
from onnxwright.findings import Finding
from onnxwright.losses import Loss
from onnxwright.manifest import Accuracy, Neighbours
from onnxwright.profile import Profile
from onnxwright.samples import TEXT, TYPICAL
from onnxwright.signature import Signature
from onnxwright.source import Source
from onnxwright.words import in_bytes

CALIBRATING: Final = 48
"""So many samples calibrate at most."""
CALIBRATING_BYTES: Final = 1 << 29
JUDGING_BYTES: Final = 1 << 30
"""So much of the reference's answers is held; more samples aren't asked, but for a few that always are."""
_BATCH: Final = "batch"
_ROWS: Final = 4
_LONGEST: Final = 64
"""Rows of that length at most are asked alone and together."""


@dataclass(frozen=True)
class Scoring:
    """Samples in two halves with the reference's answers, and what loss means."""

    loss: Loss
    corpus: Corpus
    calibration: Sequence[Tensors]
    calibrated: Sequence[Tensors]
    """The reference's answers to these."""
    judged: Sequence[Tensors]
    """Those to the other half."""

    @classmethod
    def of(cls, loss: Loss, corpus: Corpus, reference: Session) -> Scoring:
        """Asks the reference for its answers: of a model that answers much to each sample, to fewer of them.

        Raises:
            UsageError: when it refuses a sample.
        """
        calibrated = _answers(reference, corpus.calibration[:CALIBRATING], CALIBRATING_BYTES)
        judged = _answers(reference, corpus.judged, JUDGING_BYTES)
        used = _with_fewer_judged(corpus, len(judged))
        return cls(loss, used, corpus.calibration[: len(calibrated)], calibrated, judged[: len(used.judged)])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be known of the samples, and of outputs that they tell nothing of."""
        return (*self.corpus.findings, *self.loss.blind_spots(self.judged))

    def check_labels(self) -> None:
        """Holds the reference's own answers against the labels.

        Raises:
            UsageError: when the loss takes none, or not these.
        """
        if self.corpus.labels:
            self.loss.compare(self.judged, self.judged, self.corpus.judged, self.corpus.labels)

    def calibrate(self, session: Session) -> tuple[Accuracy, dict[str, float]]:
        """What a session loses on the half that it was made with, and the error of each output over all of it."""
        answers = [session.run(one) for one in self.calibration]
        found = self.loss.compare(self.calibrated, answers, self.calibration)
        return found, _errors(self.calibrated, answers)

    def judge(self, session: Session) -> Accuracy:
        """What a session loses on the half that judges."""
        answers = [session.run(one) for one in self.corpus.judged]
        return self.loss.compare(self.judged, answers, self.corpus.judged, self.corpus.labels)

    def neighbours(self, session: Session, reference: Session, batch: Batch, budget: float) -> Neighbours | None:
        """What a row loses by being answered together with others; None where the reference loses more than allowed."""
        if self._by_others(reference, batch).amount > budget:
            return None
        found = self._by_others(session, batch)
        return Neighbours(found.loss, f"{self.loss.told}, of {len(batch.rows)} rows alone and in one batch")

    def _by_others(self, session: Session, batch: Batch) -> Accuracy:
        together = session.run(batch.feeds)
        answers = [_row(together, batch.outputs, number) for number in range(len(batch.rows))]
        return self.loss.compare([session.run(one) for one in batch.rows], answers, batch.rows)


@dataclass(frozen=True)
class Batch:
    """A few rows, together and each alone; `outputs` are those that have one place a row."""

    feeds: Tensors
    rows: Sequence[Tensors]
    outputs: frozenset[str]


def _answers(reference: Session, feeds: Sequence[Tensors], most: int) -> list[Tensors]:
    """The answers to the first samples, as many as may be held.

    Raises:
        UsageError: when the reference refuses one.
    """
    answers: list[Tensors] = []
    held = 0
    for one in feeds:
        if held >= most and len(answers) >= FEW:
            break
        try:
            answers.append(reference.run(one))
        except ForwardError as refusal:
            shapes = ", ".join(f"{name} {array.dtype.name}{list(array.shape)}" for name, array in one.items())
            raise UsageError(
                f"samples: the model refuses one of them ({shapes}): {refusal} Give samples that it takes."
            ) from refusal
        held += sum(array.nbytes for array in answers[-1].values())
    return answers


def _with_fewer_judged(corpus: Corpus, count: int) -> Corpus:
    """The samples of which `count` calls judge at most, with their labels: one may be of some calls, or of a part."""
    calls, labels = len(corpus.judged), len(corpus.labels)
    if count == calls:
        return corpus
    apart = calls // math.gcd(calls, labels) if labels else 1
    kept = max(apart, count // apart * apart)
    message = f"The model answers so much to a sample that {kept} of {calls} judge, which is all that is held in memory"
    finding = Finding("samples-left-out", f"{message} ({in_bytes(JUDGING_BYTES)}).")
    return replace(
        corpus,
        judged=corpus.judged[:kept],
        labels=corpus.labels[: labels * kept // calls],
        findings=(*corpus.findings, finding),
    )


def batch_of(source: Source, profile: Profile, *, seed: int) -> Batch | None:
    """Returns a small batch within a profile; None where rows can't be told apart, or come one at a time."""
    sizes = _together(source.signature, profile)
    if sizes is None or not source.is_within(sizes):
        return None
    feeds = source.sampler.draw(sizes, TEXT if source.sampler.text is not None else TYPICAL, seed=seed)
    inputs, outputs = (
        frozenset(spec.name for spec in specs if spec.shape[:1] == (_BATCH,))
        for specs in (source.signature.inputs, source.signature.outputs)
    )
    return Batch(feeds, [_row(feeds, inputs, number) for number in range(sizes[_BATCH])], outputs)


def _together(signature: Signature, profile: Profile) -> dict[str, int] | None:
    """Sizes of a small batch; none unless each row has a place of its own on axis 0 alone."""
    if _BATCH not in profile or profile[_BATCH].least > 1 or profile[_BATCH].most < 2:
        return None
    if any(_BATCH in spec.shape[1:] for spec in (*signature.inputs, *signature.outputs)):
        return None
    if not all(spec.shape[:1] == (_BATCH,) for spec in signature.outputs):
        return None
    sizes = {dim: max(one.least, min(one.usual, _LONGEST)) for dim, one in profile.items()}
    return {**sizes, _BATCH: min(_ROWS, profile[_BATCH].most)}


def _row(tensors: Tensors, batched: frozenset[str], number: int) -> Tensors:
    return {name: array[number : number + 1] if name in batched else array for name, array in tensors.items()}


def _errors(expected: Sequence[Tensors], answered: Sequence[Tensors]) -> dict[str, float]:
    """The root of the mean square of the errors over samples, of each output; of whole numbers the share that differs.

    A sample whose answer has another shape is infinitely wrong.
    """
    pairs = list(zip(expected, answered, strict=True))
    return {name: _error([(one[name], other[name]) for one, other in pairs]) for name in expected[0]}


def _error(pairs: Sequence[tuple[Array, Array]]) -> float:
    if is_float(pairs[0][0].dtype.name):
        return root_mean_square([tolerance.overall_distance(*pair) for pair in pairs])
    if any(one.shape != other.shape for one, other in pairs):
        return math.inf
    differing = sum(int((one != other).sum()) for one, other in pairs)
    return differing / max(1, sum(one.size for one, _ in pairs))
