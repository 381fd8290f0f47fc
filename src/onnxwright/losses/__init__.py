"""What accuracy a variant of a model loses: one measure a file, each offering `LOSS`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import msgspec
import numpy as np

from onnxwright.backends import Array, Tensors
from onnxwright.discovery import offered
from onnxwright.dtypes import is_float
from onnxwright.errors import UsageError
from onnxwright.estimates import Interval, Statistic, bootstrap, everything, wilson
from onnxwright.findings import Finding
from onnxwright.manifest import Accuracy
from onnxwright.signature import Signature
from onnxwright.tasks import IDS, MASK
from onnxwright.text import Encoding


@dataclass(frozen=True)
class Purpose:
    """What a model's answers are for: its task, its tensors, and what the task knows of the model (its labels, say).

    `specials` are the ids of tokens that a tokenizer adds, for which nobody reads an answer.
    """

    task: str | None
    signature: Signature
    options: Mapping[str, Any] = field(default_factory=dict)
    specials: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Answers:
    """What a model answers to samples; the first axis of each tensor counts rows."""

    purpose: Purpose
    outputs: Sequence[Tensors]
    feeds: Sequence[Tensors]

    def rows(self, output: str) -> Iterator[Array]:
        """Yields each row of one output in float64, without the places that the mask leaves out."""
        for array, kept in self._arrays(output):
            for row in range(len(array)):
                yield _widened(array[row] if kept is None else array[row][kept[row]])

    def places(self, output: str) -> Iterator[Array]:
        """Yields each row of an output that has one place for each token, in float64, without padding."""
        for outputs, feeds in zip(self.outputs, self.feeds, strict=True):
            for row, array in enumerate(outputs[output]):
                yield _widened(array[feeds[MASK][row] == 1] if MASK in feeds else array)

    def samples(self, output: str) -> Iterator[Array]:
        """Yields what one output holds of each sample, widened and flat, without the places that the mask leaves out.

        This asks for no axis of rows.
        """
        for array, kept in self._arrays(output):
            yield _widened(array if kept is None else array[kept]).reshape(-1)

    def fed(self, name: str) -> Iterator[Array]:
        """Yields each row of one input, without the places that the mask leaves out."""
        for feeds in self.feeds:
            for row in range(len(feeds[name])):
                yield feeds[name][row][feeds[MASK][row] == 1] if MASK in feeds else feeds[name][row]

    def read(self) -> Iterator[Array | slice]:
        """Yields for each row which tokens are of the text itself, padding left out; all where no tokens are fed."""
        if IDS in self.purpose.signature.input_names:
            return (~np.isin(ids, list(self.purpose.specials)) for ids in self.fed(IDS))
        return itertools.repeat(slice(None))

    def _arrays(self, output: str) -> Iterator[tuple[Array, Array | None]]:
        for outputs, feeds in zip(self.outputs, self.feeds, strict=True):
            yield outputs[output], _kept(self.purpose.signature, output, outputs[output], feeds)


@dataclass(frozen=True)
class Estimate:
    """A loss with its interval, and further numbers that say what it consists of."""

    loss: float
    interval: Interval | None
    parts: Mapping[str, float]


class Kind(Protocol):
    """A row of the table: which models it is for, and what their loss is."""

    name: str
    told: str
    """What the number is, in one sentence without a full stop."""
    budget: float
    """How much may be lost, unless a user says otherwise."""
    serves: str
    """Which models it is for, in words."""
    labelled: str
    """Which metric counts where samples have labels, in words."""
    is_general: bool
    """Whether it serves where nothing is known of a model's answers."""

    def fits(self, purpose: Purpose) -> bool:
        """Whether it tells what the answers are for."""

    def estimate(self, expected: Answers, answered: Answers) -> Estimate:
        """Compares answers that have the same shapes and are finite."""

    def aligned(self, given: Given, encoding: Encoding, purpose: Purpose) -> Any:
        """Returns the label of a text as `scores` takes it, given how the text was cut into tokens.

        Raises:
            UsageError: for a label that the model doesn't know, or that doesn't belong to the text.
        """

    def scores(self, answers: Answers, labels: Sequence[Any]) -> Mapping[str, Statistic]:
        """Returns the metrics of the task by name, the first being the one that counts; each takes labels' indices.

        Raises:
            UsageError: when the labels are not what the task takes, or it takes none.
        """


@dataclass(frozen=True)
class Given:
    """What a user says of one text or pair: its label, and its words where the label is one for each of them."""

    label: Any
    words: Sequence[str] = ()


@dataclass(frozen=True)
class Loss:
    """How much worse a variant of one model answers than the reference."""

    kind: Kind
    purpose: Purpose

    @property
    def name(self) -> str:
        """The name of the measure."""
        return self.kind.name

    @property
    def told(self) -> str:
        """What the number is, in one sentence."""
        return self.kind.told

    @property
    def budget(self) -> float:
        """How much may be lost, unless a user says otherwise."""
        return self.kind.budget

    def fits(self, task: str | None, signature: Signature) -> bool:
        """Whether the measure tells what the answers of such a model are for."""
        return self.kind.fits(Purpose(task, signature, self.purpose.options))

    def compare(
        self,
        expected: Sequence[Tensors],
        answered: Sequence[Tensors],
        feeds: Sequence[Tensors],
        labels: Sequence[Any] = (),
    ) -> Accuracy:
        """Holds answers to samples against the reference's; each element is what belongs to one sample.

        With labels, the loss is the task's own metric of the reference less that of the answers. Where an answer isn't
        finite or has another shape, the loss is infinite and the message says why.

        Raises:
            UsageError: for no samples, or labels that don't fit the task.
        """
        if not expected:
            raise UsageError("samples: none to judge a variant by. Give at least two.")
        reference, candidate = (Answers(self.purpose, outputs, feeds) for outputs in (expected, answered))
        reason = _difference(reference, candidate)
        if reason:
            return Accuracy(self.name, self.told, None, None, len(expected), message=reason)
        found = self._accuracy(self.kind.estimate(reference, candidate), len(expected))
        return self._labelled(found, reference, candidate, labels) if labels else found

    def blind_spots(self, expected: Sequence[Tensors]) -> tuple[Finding, ...]:
        """Tells of outputs that are the same for all samples, or zero throughout, so that agreeing shows little."""
        told = ((name, _sameness([outputs[name] for outputs in expected])) for name in expected[0])
        return tuple(
            Finding("constant-output", f"Output '{name}' of the reference is {same} for all samples.")
            for name, same in told
            if same
        )

    def _accuracy(self, found: Estimate, samples: int) -> Accuracy:
        if not math.isfinite(found.loss):
            return Accuracy(self.name, self.told, None, None, samples, message=_NO_NUMBER)
        return Accuracy(self.name, self.told, found.loss, found.interval, samples, _finite(found.parts))

    def _labelled(self, agreed: Accuracy, reference: Answers, candidate: Answers, labels: Sequence[Any]) -> Accuracy:
        """Replaces a loss by the difference of the task's metric, with the interval of a paired bootstrap."""
        if agreed.loss is None:
            return agreed
        right, found = (self.kind.scores(answers, labels) for answers in (reference, candidate))
        metric, *others = right
        whole = everything(len(labels))
        best, reached = right[metric](whole), found[metric](whole)
        if not math.isfinite(best):
            raise UsageError(
                f"labels: the reference has no {metric}. Check that labels, and its answers, aren't all the same."
            )
        if not math.isfinite(reached):
            return Accuracy(self.name, self.told, None, None, len(labels), message=f"the variant has no {metric}.")
        return msgspec.structs.replace(
            agreed,
            told=f"the reference's {metric} less the variant's, on labelled samples",
            loss=best - reached,
            interval=_paired(right[metric], found[metric], len(labels)),
            samples=len(labels),
            parts={
                **_finite({f"{name} lost": right[name](whole) - found[name](whole) for name in others}),
                f"loss of {self.name}": agreed.loss,
                **agreed.parts,
            },
            is_labelled=True,
            metric=reached,
            reference_metric=best,
        )


def _paired(right: Statistic, found: Statistic, count: int) -> Interval | None:
    """Returns the paired bootstrap interval of a difference; it has width where no sample makes any.

    As many samples that agree may well be drawn of cases of which some don't: as many as `wilson` says of no hits.
    """
    interval = bootstrap(lambda chosen: right(chosen) - found(chosen), count)
    if interval is None or interval[0] < interval[1]:
        return interval
    _, reach = wilson(0, count)
    return interval[0] - reach, interval[1] + reach


_NO_NUMBER: Final = "no number says it: the reference itself answers NaN or infinity, or the loss is beyond numbers."


def kinds() -> dict[str, Kind]:
    """Returns every measure, by name."""
    return cast(dict[str, Kind], offered(__name__, "LOSS"))


def page() -> str:
    """Returns the documentation page of all measures, in Markdown."""
    rows = (
        f"| `{kind.name}` | {kind.serves} | {kind.told} | {kind.budget:g} | {kind.labelled} |"
        for kind in kinds().values()
    )
    return "\n".join([_HEAD, *rows, ""])


_HEAD: Final = """# What accuracy a variant loses

A variant in a lower precision answers differently from the reference, by design. How much worse it is for what the
model is used for is one number, the loss, which `--max-accuracy-loss` bounds: 0 is as good as the reference, whatever
the scale of its outputs. The task says which measure it is.

It is taken on samples: your own (`--samples FILE`), else texts that come with onnxwright, or random inputs where a
model takes no text; a finding tells of the last two. A seeded shuffle deals them into two halves that share no sample:
one calibrates, the other judges. A text is one line, or in a `.jsonl` a string, a pair, or a mapping with `text` (and
`text_pair`), `question` and `context`, `query` and `passage`, or `tokens`; axis 0 of the arrays of an `.npz` counts
samples. Padding never counts, nor do the labels of tokens that the tokenizer adds. The interval beside a loss holds
with 95 % confidence: Wilson's for shares, else the percentile bootstrap over samples. Where an answer is not finite or
has another shape, the loss is infinite. At most 48 samples calibrate and 256 judge; of a model that answers much to
each, as one with a large vocabulary, as many as have answers that fit into half a gibibyte and a whole one.

With labels (`--labels FILE`, one a line, or `label` beside each text) the loss is the metric of the task: that of the
reference less that of the variant, with the interval of a paired bootstrap, which where no sample makes a difference is
as wide as Wilson's of none in as many.

This page is written by `make docs` from `src/onnxwright/losses/`.

| measure | serves | the loss is | budget, unless given | metric, with labels |
|---|---|---|---|---|"""


def loss_of(
    task: str | None,
    signature: Signature,
    options: Mapping[str, Any] | None = None,
    specials: Iterable[int] = (),
) -> Loss:
    """Returns what accuracy means for a model: what its task says of it, else the error of its numbers.

    `specials` are the ids of tokens for which nobody reads an answer, as a `Corpus` knows them.
    """
    purpose = Purpose(task, signature, options or {}, frozenset(specials))
    known = sorted(kinds().values(), key=lambda kind: kind.is_general)
    return Loss(next(kind for kind in known if kind.fits(purpose)), purpose)


def numbers(labels: Sequence[Any]) -> Array:
    """Returns labels that are numbers.

    Raises:
        UsageError: naming one that isn't.
    """
    for label in labels:
        try:
            is_number = math.isfinite(float(label))
        except (TypeError, ValueError):
            is_number = False
        if not is_number:
            raise UsageError(f"label {label!r}: expected a number, such as 0.75.")
    return np.array([float(label) for label in labels])


def check_count(labels: Sequence[Any], samples: int) -> None:
    """Refuses labels that aren't one for each sample.

    Raises:
        UsageError: telling how many there are.
    """
    if len(labels) != samples:
        raise UsageError(f"labels: expected one for each of {samples} samples, got {len(labels)}.")


def no_metric(kind: Kind, labels: Sequence[Any]) -> UsageError:
    """Returns the refusal of labels where a measure has no use for them."""
    return UsageError(
        f"labels: {len(labels)} given, and the measure '{kind.name}' ({kind.told}) takes none. Leave them out, or name "
        "the task with --task."
    )


def _sameness(arrays: Sequence[Array]) -> str:
    if not any(array.any() for array in arrays):
        return "zero"
    first = arrays[0]
    is_same = len(arrays) > 1 and all(np.array_equal(array, first) for array in arrays)
    return "the same" if is_same else ""


def _finite(parts: Mapping[str, float]) -> dict[str, float]:
    """Leaves out parts that samples don't tell, as a rank correlation where all are equal."""
    return {name: float(part) for name, part in parts.items() if math.isfinite(part)}


def _widened(array: Array) -> Array:
    """Returns floats and complex numbers in the type with the most digits; whole numbers have theirs already."""
    if array.dtype.kind in "iub":
        return array
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _kept(signature: Signature, output: str, array: Array, feeds: Tensors) -> Array | None:
    """Returns which places of an output count, where it has one for each of the mask's; else None."""
    if MASK not in feeds:
        return None
    axes = next((spec.shape for spec in signature.outputs if spec.name == output), ())
    is_sequence = len(axes) > 1 and isinstance(axes[1], str) and array.shape[:2] == feeds[MASK].shape
    return np.asarray(feeds[MASK] == 1) if is_sequence else None


def _difference(reference: Answers, candidate: Answers) -> str:
    """Says why answers can't be compared with the reference's, "" where they can."""
    if len(reference.outputs) != len(candidate.outputs):
        return f"expected answers to {len(reference.outputs)} samples, got {len(candidate.outputs)}."
    pairs = zip(reference.outputs, candidate.outputs, reference.feeds, strict=True)
    for number, (expected, answered, feeds) in enumerate(pairs):
        for name, array in expected.items():
            if name not in answered:
                return f"sample {number}: the answer has no output '{name}'."
            kept = _kept(reference.purpose.signature, name, array, feeds)
            reason = _array_difference(array, answered[name], kept)
            if reason:
                return f"sample {number}, output '{name}': {reason}"
    return ""


def _array_difference(expected: Array, answered: Array, kept: Array | None) -> str:
    if expected.shape != answered.shape:
        return f"expected the shape {list(expected.shape)}, got {list(answered.shape)}."
    if not is_float(expected.dtype.name):
        return ""
    if not is_float(answered.dtype.name):
        return f"expected {expected.dtype.name}, got {answered.dtype.name}."
    right, found = (array if kept is None else array[kept] for array in (expected, answered))
    finite = np.isfinite(right)
    if not np.isfinite(found[finite]).all():
        return "NaN or infinity where the reference answers numbers."
    if not np.array_equal(right[~finite], found[~finite], equal_nan=True):
        return "the reference answers NaN or infinity, the variant something else."
    return ""
