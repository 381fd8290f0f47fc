"""Samples as texts: a user's, or those that come with onnxwright."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxwright.backends import Tensors
from onnxwright.corpus.stock import Sample, Stock, extent, rows_at_once
from onnxwright.dtypes import to_numpy
from onnxwright.errors import UsageError
from onnxwright.findings import Finding
from onnxwright.losses import Given, Loss, check_count, loss_of
from onnxwright.pipelines import prepare
from onnxwright.records import Record, read_records
from onnxwright.signature import TensorSpec
from onnxwright.source import Source
from onnxwright.tasks import ENCODED, Task, task
from onnxwright.text import FILE_NAME, Encoding, Text, Tokenizer, built_in

_ROOM: Final = 8
"""So many tokens are left for a second text at least, special ones included; the first has no more than bytes."""
_UNKNOWN: Final = 0.05
_CHARACTERS_OF_A_TOKEN: Final = 1.4
"""Of a language that a tokenizer was made for, tokens have more characters than that on average."""


def of_file(source: Source, tokenizer: Tokenizer, file: Path, labels: Sequence[Any] | None) -> Stock:
    """Returns the texts of a file, each encoded alone; labels stand beside them or are given.

    Raises:
        UsageError: when the file is damaged or empty, or texts or labels aren't what the task takes.
    """
    records = read_records(file)
    return _encoded(source, tokenizer, _labelled(records, labels), f"{len(records)} texts of '{file.name}'")


def of_built_in(source: Source, tokenizer: Tokenizer) -> Stock:
    """Returns the texts that come with onnxwright; for tasks about two texts, pairs of them."""
    is_pair = task(str(source.task)).is_pair
    texts = _pairs(_longest(source, tokenizer)) if is_pair else [(text,) for text in built_in()]
    origin = f"{len(texts)} {'pairs of ' if is_pair else ''}built-in texts"
    stock = _encoded(source, tokenizer, [Record(each) for each in texts], origin)
    message = f"No samples were given: a variant is made with and judged on {origin}, not on yours."
    return replace(stock, findings=(Finding("built-in-samples", message), *stock.findings))


def tokenizer_of(source: Source) -> Tokenizer | None:
    """Returns the tokenizer of a source whose inputs are all made from text; None where it has none."""
    is_text = all(spec.name in ENCODED and len(spec.shape) == 2 for spec in source.signature.inputs)
    if source.task is None or source.folder is None or not is_text:
        return None
    if (source.folder / FILE_NAME).is_file():
        return Tokenizer.open(source.folder)
    return _converted(source.folder) if source.sampler.text else None


def _converted(folder: Path) -> Tokenizer | None:
    """Returns what `transformers` makes of a tokenizer in older files; None where it has no form without Python."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    raw = getattr(found, "backend_tokenizer", None)
    settings = {**found.special_tokens_map, "model_max_length": found.model_max_length}
    return None if raw is None else Tokenizer(raw, settings)


def _pairs(tokens: int) -> list[tuple[str, str]]:
    """Pairs each short built-in text with a long one, where the short one leaves room for it among so many tokens."""
    texts = sorted(built_in(), key=len)
    half = len(texts) // 2
    pairs = zip(texts[:half], texts[-half:], strict=True)
    return [(first, second) for first, second in pairs if len(first.encode()) + _ROOM <= tokens]


def _labelled(records: Sequence[Record], labels: Sequence[Any] | None) -> Sequence[Record]:
    """Gives each sample its label, where there are labels beside the samples."""
    known = sum(record.label is not None for record in records)
    if labels is None:
        if known not in {0, len(records)}:
            raise UsageError(f"labels: {known} of {len(records)} samples have one. Give each one, or none.")
        return records
    if known:
        raise UsageError("labels: stand beside the samples, and in a file of their own. Keep one of them.")
    check_count(labels, len(records))
    return [replace(record, label=label) for record, label in zip(records, labels, strict=True)]


def _encoded(source: Source, tokenizer: Tokenizer, records: Sequence[Record], origin: str) -> Stock:
    chosen = task(str(source.task))
    texts = [_texts(record, chosen, number) for number, record in enumerate(records)]
    flat = [_prepared(text, source.task_options) for one in texts for text in one]
    limit = _longest(source, tokenizer)
    encodings = tokenizer.encode(flat, max_length=limit, cut=chosen.cut)
    _check_tokens(flat, encodings)
    at_once = rows_at_once(source)
    least = extent(source, 1)[0]
    length = least if at_once == 1 else max(least, *map(len, encodings))
    rows = iter([_row(tokenizer.pad(encoding, length), source.signature.inputs) for encoding in encodings])
    loss = loss_of(source.task, source.signature, source.task_options)
    firsts = itertools.accumulate(map(len, texts), initial=0)
    samples = [
        Sample(tuple(next(rows) for _ in one), _label(loss, record, encodings[first]))
        for record, one, first in zip(records, texts, firsts, strict=False)
    ]
    findings = (*_cut(encodings, limit), *_foreign(encodings, tokenizer.unknown))
    return Stock(samples, origin, at_once, findings, frozenset(_specials(encodings)))


def _texts(record: Record, chosen: Task, number: int) -> tuple[Text, ...]:
    """Returns what is encoded for one sample: a pair as one, or for a task about single texts each by itself."""
    if len(record.texts) == 1:
        if chosen.is_pair:
            raise UsageError(
                f"sample {number}: {chosen.name} is about two texts, got one. Give both a line, in a .jsonl file."
            )
        return record.texts
    first, second = record.texts
    return ((first, second),) if chosen.is_pair_allowed else (first, second)


def _prepared(text: Text, options: Mapping[str, Any]) -> Text:
    return prepare(text, options.get("prompt", ""), is_lowercase=options.get("is_lowercase", False))


def _check_tokens(texts: Sequence[Text], encodings: Sequence[Encoding]) -> None:
    for text, encoding in zip(texts, encodings, strict=True):
        if not len(encoding):
            raise UsageError(f"sample '{str(text)[:40]}': has no tokens. Leave it out.")


def _row(encoding: Encoding, inputs: Sequence[TensorSpec]) -> Tensors:
    return {spec.name: np.array([getattr(encoding, ENCODED[spec.name])], dtype=to_numpy(spec.dtype)) for spec in inputs}


def _label(loss: Loss, record: Record, encoding: Encoding) -> Any:
    if record.label is None:
        return None
    return loss.kind.aligned(Given(record.label, record.words), encoding, loss.purpose)


def _longest(source: Source, tokenizer: Tokenizer) -> int:
    limits = (extent(source, 1)[1], tokenizer.model_max_length, source.task_options.get("max_length"))
    return min(limit for limit in limits if limit is not None)


def _cut(encodings: Sequence[Encoding], limit: int) -> Iterator[Finding]:
    cut = sum(encoding.is_truncated for encoding in encodings)
    if cut:
        yield Finding("samples-cut", f"{cut} of {len(encodings)} texts are longer than {limit} tokens and were cut.")


def _foreign(encodings: Sequence[Encoding], unknown: int | None) -> Iterator[Finding]:
    """Tells of texts in a language that the tokenizer wasn't made for: unknown tokens, or hardly more than letters."""
    own = [token for encoding in encodings for token, _ in _own(encoding)]
    share = own.count(unknown) / max(1, len(own)) if unknown is not None else 0.0
    if share > _UNKNOWN:
        yield Finding("foreign-samples", f"{share:.0%} of the samples' tokens are unknown to the tokenizer.")
        return
    lengths = [length for encoding in encodings if not _is_wide(encoding) for _, length in _own(encoding)]
    if lengths and np.mean(lengths) < _CHARACTERS_OF_A_TOKEN:
        message = f"The tokenizer cuts the samples into pieces of {np.mean(lengths):.1f} characters on average."
        yield Finding("foreign-samples", message)


def _own(encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Yields each token of the text itself, and how many characters it stands for."""
    columns = zip(encoding.ids, encoding.offsets, encoding.special_tokens_mask, strict=True)
    return ((token, end - start) for token, (start, end), is_special in columns if not is_special)


def _specials(encodings: Sequence[Encoding]) -> Iterator[int]:
    for encoding in encodings:
        columns = zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        yield from (token for token, is_special in columns if is_special)


def _is_wide(encoding: Encoding) -> bool:
    """Whether the text has characters that are words, or parts of words, by themselves."""
    return any(unicodedata.east_asian_width(character) in "WF" for text in encoding.texts for character in text)
