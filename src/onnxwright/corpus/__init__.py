"""The samples by which a variant is made and judged: one half calibrates, the other judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxwright.backends import Tensors
from onnxwright.corpus.arrays import of_arrays
from onnxwright.corpus.drawn import drawn
from onnxwright.corpus.stock import Sample, Stock, counted
from onnxwright.corpus.texts import of_built_in, of_file, tokenizer_of
from onnxwright.errors import UsageError
from onnxwright.findings import Finding
from onnxwright.records import ARRAYS, check_samples, read_labels, without_tokenizer
from onnxwright.signature import TensorSpec
from onnxwright.source import Source

FEW: Final = 8
"""With fewer different samples, an interval says little."""
MOST: Final = 512
"""So many samples are used unless more are asked for."""


@dataclass(frozen=True)
class Corpus:
    """Inputs of a model in two halves, where they come from, and what is to be known of them.

    No input of one half is in the other. `labels` are those of the judged half, as the loss takes them;
    `specials` the ids of tokens that the tokenizer adds to texts.
    """

    calibration: Sequence[Tensors]
    judged: Sequence[Tensors]
    origin: str
    labels: Sequence[Any] = ()
    findings: tuple[Finding, ...] = ()
    specials: frozenset[int] = frozenset()


def corpus_of(
    source: Source, samples: Path | None = None, labels: Path | None = None, *, count: int = MOST, seed: int = 0
) -> Corpus:
    """Returns the samples of a file in two halves; without one, built-in texts or inputs that are drawn.

    Texts are encoded alone, at their own length, as a package encodes them; of an `.npz`, axis 0 counts the samples.
    A label is a line of `labels`, or stands beside its text in a `.jsonl`. Of more than `count` samples, a choice is
    used that depends on the seed, as the halves do.

    Raises:
        UsageError: for samples that are missing, damaged, not numbers, or all the same; for labels that aren't one for
            each sample, or that the model doesn't know.
    """
    known = None if labels is None else read_labels(labels)
    if samples is None and known is not None:
        raise UsageError("labels: given without samples. Give the samples that they belong to, with --samples.")
    stock = _gather(source, samples, known, seed)
    calibrating, judging, different = _split(stock, count, seed)
    if different < FEW:
        message = f"There are {different} different samples in both halves together."
        stock = replace(stock, findings=(*stock.findings, Finding("few-samples", message)))
    calibration, judged = (_calls(half, stock, source.signature.inputs) for half in (calibrating, judging))
    for call in (*calibration, *judged):
        source.signature.bind(call)
    used = len(judging) // stock.rows_at_once * stock.rows_at_once
    known = [sample.label for sample in judging[:used] if sample.label is not None]
    return Corpus(calibration, judged, stock.origin, known, stock.findings, stock.specials)


def _gather(source: Source, file: Path | None, labels: Sequence[Any] | None, seed: int) -> Stock:
    if file is None:
        tokenizer = tokenizer_of(source)
        return drawn(source, seed=seed) if tokenizer is None else of_built_in(source, tokenizer)
    check_samples(file)
    if file.suffix == ARRAYS:
        return of_arrays(source, file, labels)
    tokenizer = tokenizer_of(source)
    if tokenizer is None:
        raise without_tokenizer(file, source.name)
    return of_file(source, tokenizer, file, labels)


def _split(stock: Stock, count: int, seed: int) -> tuple[Sequence[Sample], Sequence[Sample], int]:
    """Returns two halves of at most `count` samples, and how many different ones they hold."""
    alike: dict[tuple[str, ...], list[Sample]] = {}
    for sample in stock.samples:
        alike.setdefault(sample.key, []).append(sample)
    if len(alike) < 2:
        told = f"all {len(stock.samples)} are the same" if len(stock.samples) > 1 else "there is one"
        raise UsageError(f"samples: {told}; expected some to make a variant, and others to judge it. Give more.")
    order = [list(alike)[place] for place in np.random.default_rng(seed).permutation(len(alike))][:count]
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    calibrating, judging = ([sample for key in half for sample in alike[key]] for half in halves)
    return _without(calibrating, judging), judging, len(order)


def _without(calibrating: Sequence[Sample], judging: Sequence[Sample]) -> Sequence[Sample]:
    """Leaves out of one half what is in the other too, as a text that belongs to two pairs."""
    judged = {key for sample in judging for key in sample.key}
    single = [Sample((row,)) for sample in calibrating for row in sample.rows]
    left = [sample for sample in single if not judged & {*sample.key}]
    if not left:
        raise UsageError("samples: every sample of one half is in the other, too. Give more, and different ones.")
    return left


def _calls(samples: Sequence[Sample], stock: Stock, inputs: Sequence[TensorSpec]) -> list[Tensors]:
    """Puts rows together for as many calls as they fill."""
    at_once = stock.rows_at_once
    if len(samples) < at_once:
        raise UsageError(
            f"samples: the model takes batches of {at_once}, and one half holds {len(samples)}. Give more samples."
        )
    rows = [row for sample in samples[: len(samples) // at_once * at_once] for row in sample.rows]
    return [_joined(rows[at : at + at_once], inputs) for at in range(0, len(rows), at_once)]


def _joined(rows: Sequence[Tensors], inputs: Sequence[TensorSpec]) -> Tensors:
    names = counted(inputs)
    return {
        name: np.concatenate([row[name] for row in rows]) if len(rows) > 1 and name in names else array
        for name, array in rows[0].items()
    }
