"""Text in, answer out: a package run with its own tokenizer, without torch or transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from onnxwright.artifact import Package, PackageSession
from onnxwright.backends import Array, Ran
from onnxwright.dtypes import to_numpy
from onnxwright.errors import OutOfRangeError, UsageError
from onnxwright.signature import Dim, TensorSpec
from onnxwright.tasks import ENCODED, MASK, Task, task
from onnxwright.text import Encoding, Text, Tokenizer

Given = str | Sequence[str] | Mapping[str, str]
"""One text, or a pair as `(first, second)` or as a mapping with one of the pairs of names in `PAIR_NAMES`."""

PAIR_NAMES: Final = (("text", "text_pair"), ("query", "passage"), ("question", "context"))


class Answer(msgspec.Struct, frozen=True):
    """What a package says about one text, how many tokens that was, and whether the text was cut to fit."""

    answer: Any
    tokens: int
    is_truncated: bool


@dataclass(frozen=True)
class Pipeline:
    """A package with its tokenizer, ready for texts; `batch_size` of them go into one call of the graph."""

    session: PackageSession
    tokenizer: Tokenizer
    task: Task
    options: Mapping[str, Any]
    batch_size: int

    @property
    def ran(self) -> Ran:
        """What runs."""
        return self.session.ran

    @cached_property
    def max_length(self) -> int:
        """How many tokens a text may have before it is cut: what was proven, and what tokenizer and task allow."""
        limits = (self._columns[1], self.tokenizer.model_max_length, self.options.get("max_length"))
        return min(limit for limit in limits if limit is not None)

    @cached_property
    def _inputs(self) -> dict[str, TensorSpec]:
        return {spec.name: spec for spec in self.session.signature.inputs}

    @cached_property
    def _rows(self) -> tuple[int, int]:
        return _extents(self.session)[0]

    @cached_property
    def _columns(self) -> tuple[int, int]:
        return _extents(self.session)[1]

    def __call__(self, texts: Given | Sequence[Given]) -> Any:
        """Answers one text, or a list of them with a list.

        A tuple is one pair; a list is many texts or pairs.

        Raises:
            UsageError: for no text, something that is no text, or a pair where one text is due and the reverse.
        """
        if isinstance(texts, list):
            return [found.answer for found in self.answer(texts)]
        return self.answer([texts])[0].answer  # type: ignore[list-item]  # a list has been told apart above

    def answer(self, texts: Sequence[Given]) -> list[Answer]:
        """Answers each text, in order, and tells which were cut.

        Raises:
            UsageError: as `__call__`.
        """
        if not texts:
            raise UsageError("no texts: expected at least one. Give a text, or a list of texts.")
        read = [_read(given, number, self.task) for number, given in enumerate(texts)]
        encodings = self._encode(read)
        answers: dict[int, Answer] = {}
        for rows in self._batches(encodings):
            batch = [encodings[row] for row in rows]
            for row, found in zip(rows, self._answer_batch(batch), strict=True):
                answers[row] = Answer(found, len(encodings[row]), encodings[row].is_truncated)
        return [answers[row] for row in range(len(texts))]

    def _encode(self, texts: Sequence[Text]) -> list[Encoding]:
        prompt, is_lowercase = self.options.get("prompt", ""), self.options.get("is_lowercase", False)
        prepared = [prepare(text, prompt, is_lowercase=is_lowercase) for text in texts]
        encodings = self.tokenizer.encode(prepared, max_length=self.max_length, cut=self.task.cut)
        for number, encoding in enumerate(encodings):
            if not len(encoding):
                raise UsageError(f"text {number}: has no tokens. Leave it out, or give a text that isn't empty.")
        return encodings

    def _batches(self, encodings: Sequence[Encoding]) -> Iterator[list[int]]:
        """Groups texts of similar length; without a mask among the inputs, of the same length."""
        rows = sorted(range(len(encodings)), key=lambda row: len(encodings[row]))
        for _, group in groupby(rows, key=lambda row: None if MASK in self._inputs else len(encodings[row])):
            same = list(group)
            yield from (same[start : start + self.batch_size] for start in range(0, len(same), self.batch_size))

    def _answer_batch(self, batch: Sequence[Encoding]) -> list[Any]:
        length = max(self._columns[0], *map(len, batch))
        if MASK not in self._inputs and length > len(batch[0]):
            raise UsageError(
                f"a text of {len(batch[0])} tokens: the proven range begins at {length}, and without the input "
                f"'{MASK}' it can't be filled up. Give longer texts, or convert with a wider range."
            )
        padded = [self.tokenizer.pad(encoding, length) for encoding in batch]
        filled = [*padded, *[padded[-1]] * (self._rows[0] - len(padded))]
        return self.task.answer(self.session.run(self._feeds(filled)), padded, self.options)

    def _feeds(self, rows: Sequence[Encoding]) -> dict[str, Array]:
        return {
            name: np.array([getattr(row, ENCODED[name]) for row in rows], dtype=to_numpy(spec.dtype))
            for name, spec in self._inputs.items()
        }


def pipeline(
    folder: str | Path, *, engine: str = "auto", batch_size: int | None = None, allow_fallback: bool = False
) -> Pipeline:
    """Makes a package answer texts; `batch_size` is the usual batch of its profile unless told.

    With `allow_fallback`, an engine for GPUs may compute on the CPU what it has no kernel for.

    Raises:
        SourceError: when the folder is not a package, or has no tokenizer.
        UsageError: when the package has no task, or takes more than tokens.
        EngineError: when the engine is not available, or not one that the package was proven with.
        OutOfRangeError: when the package was not proven for that batch size.
    """
    package = Package.open(folder)
    if package.task is None:
        raise UsageError(
            f"package '{folder}' has no task, so texts mean nothing to it. "
            "Use `onnxwright.open(DIR).session()` and feed tensors, or convert with --task."
        )
    tokenizer = Tokenizer.open(package.folder)
    session = package.session(engine, allow_fallback=allow_fallback)
    _check_inputs(session.signature.inputs)
    size = _usual_batch(package, session) if batch_size is None else _checked_batch(batch_size, session)
    return Pipeline(session, tokenizer, task(package.task), package.manifest.task_options, size)


def _check_inputs(inputs: Sequence[TensorSpec]) -> None:
    for spec in inputs:
        if spec.name not in ENCODED or len(spec.shape) != 2:
            raise UsageError(
                f"input '{spec.name}' ({spec}) can't be made from text alone; expected {', '.join(ENCODED)}, "
                "each of [batch, sequence]. Use `onnxwright.open(DIR).session()` and feed tensors."
            )


def _checked_batch(batch_size: int, session: PackageSession) -> int:
    most = _extents(session)[0][1]
    if not 1 <= batch_size <= most:
        raise OutOfRangeError(
            f"batch_size {batch_size}: this package was proven for batches up to {most}. "
            f"Use 1 to {most}, or convert with a wider range."
        )
    return batch_size


def _usual_batch(package: Package, session: PackageSession) -> int:
    dim = session.signature.inputs[0].shape[0]
    most = _extents(session)[0][1]
    usual = package.profile[dim].usual if isinstance(dim, str) and dim in package.profile else most
    return max(1, min(usual, most))


def _extents(session: PackageSession) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns least and most rows, and least and most tokens, that the graph was proven for."""
    rows, columns = (_extent(dim, session.range) for dim in session.signature.inputs[0].shape)
    return rows, columns


def _extent(dim: Dim, ranges: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    return (dim, dim) if isinstance(dim, int) else ranges[dim]


def _read(given: Any, number: int, found: Task) -> Text:
    """Returns a text or a pair in the one form that the tokenizer takes."""
    parts = _parts(given, number)
    if len(parts) == 1 and found.is_pair:
        raise UsageError(
            f"text {number}: {found.name} is about two texts, got one. Give (first, second), "
            'or {"query": …, "passage": …} or {"question": …, "context": …}.'
        )
    if len(parts) == 2 and not found.is_pair_allowed:
        raise UsageError(f"text {number}: {found.name} is about one text, got a pair. Give each text by itself.")
    return (parts[0], parts[1]) if len(parts) == 2 else parts[0]


def _parts(given: Any, number: int) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Mapping):
        given = _named_parts(given, number)
    if not isinstance(given, Sequence) or len(given) not in {1, 2} or not all(isinstance(part, str) for part in given):
        raise UsageError(
            f"text {number}: expected a text, or a pair of texts, got {type(given).__name__} {str(given)[:40]!r}."
        )
    return tuple(given)


def _named_parts(given: Mapping[Any, Any], number: int) -> tuple[Any, ...]:
    for names in (*PAIR_NAMES, ("text",)):
        if given.keys() == set(names):
            return tuple(given[name] for name in names)
    known = "; ".join(f"{first} and {second}" for first, second in PAIR_NAMES)
    raise UsageError(
        f"text {number}: expected a mapping with text alone, or {known}; got {', '.join(map(str, given))}."
    )


def prepare(text: Text, prompt: str, *, is_lowercase: bool) -> Text:
    """Returns a text as its model wants it: after a prompt, in lower case; pairs stay as they are."""
    if isinstance(text, tuple) or not (prompt or is_lowercase):
        return text
    return (prompt + text).lower() if is_lowercase else prompt + text
