"""What a file says of samples: texts and pairs of them, one a line, and their labels."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxwright.backends import Array
from onnxwright.errors import UsageError
from onnxwright.pipelines import PAIR_NAMES, Given

_JSON_LINES: Final = (".jsonl", ".ndjson")
_LABEL_NAMES: Final = ("label", "labels", "score", "answers", "answer", "entities")
_WORDS: Final = "tokens"


ARRAYS: Final = ".npz"
"""The suffix of a file of tensors."""


@dataclass(frozen=True)
class Record:
    """One sample: a text or a pair of texts, its label where the file has one, and its words where those are given.

    The text of given words is the words with a space between.
    """

    texts: tuple[str, ...]
    label: Any = None
    words: tuple[str, ...] = ()


def check_samples(file: Path) -> None:
    """Refuses a file of samples that isn't there.

    Raises:
        UsageError: saying which file would do.
    """
    if not file.is_file():
        raise UsageError(f"samples '{file}': no such file. Give texts, one a line, or an .npz with one array an input.")


def without_tokenizer(file: Path, name: str) -> UsageError:
    """Returns the refusal of texts for a model, of that name, that has no tokenizer to read them with."""
    return UsageError(f"samples '{file}': texts need a tokenizer, and '{name}' has none. Give an .npz file.")


def read_records(file: Path) -> list[Record]:
    """Returns the samples of a file; lines without text are left out.

    Raises:
        UsageError: when the file is missing, damaged or empty, or a line is no text, pair or mapping with such.
    """
    records = [to_record(given, f"file '{file}', sample {number}") for number, given in enumerate(read_texts(file))]
    found = [record for record in records if any(text.strip() for text in record.texts)]
    if not found:
        raise UsageError(f"samples '{file}': no text in it; expected one a line.")
    return found


def read_arrays(file: Path) -> dict[str, Array]:
    """Returns the arrays of an `.npz` file by name.

    Raises:
        UsageError: when it is damaged, or holds more than plain arrays.
    """
    try:
        with np.load(file, allow_pickle=False) as saved:
            return dict(saved)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as problem:
        raise UsageError(f"samples '{file}': not an .npz file of plain arrays: {problem}") from problem


def read_labels(file: Path) -> list[Any]:
    """Returns the labels of a file, one a line: as text, or as JSON from a `.jsonl`.

    Raises:
        UsageError: when the file is missing, damaged or empty.
    """
    if not file.is_file():
        raise UsageError(f"labels '{file}': no such file. Give a text file with one label a line, or a .jsonl file.")
    labels = [label.strip() if isinstance(label, str) else label for label in read_texts(file)]
    while labels and labels[-1] == "":
        labels.pop()
    if not labels:
        raise UsageError(f"labels '{file}': no label in it; expected one a line.")
    return labels


def to_record(given: Any, where: str) -> Record:
    """Reads a text, a pair, or a mapping that names texts (`text`, `text_pair`, `question` …) and perhaps a label.

    Raises:
        UsageError: for anything else, telling `where` it stands.
    """
    if isinstance(given, Mapping):
        return _named(given, where)
    parts = (given,) if isinstance(given, str) else given
    if isinstance(parts, (list, tuple)) and len(parts) in {1, 2} and all(isinstance(part, str) for part in parts):
        return Record(tuple(parts))
    raise UsageError(f"{where}: expected a text, a pair of texts or a mapping, got {str(given)[:40]!r}.")


def _named(given: Mapping[str, Any], where: str) -> Record:
    labels = [name for name in _LABEL_NAMES if name in given]
    if len(labels) > 1:
        raise UsageError(f"{where}: has several labels, {' and '.join(labels)}. Keep one.")
    label = given[labels[0]] if labels else None
    words = given.get(_WORDS)
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return Record((" ".join(words),), label, tuple(words))
    for names in (*PAIR_NAMES, ("text",)):
        texts = tuple(given[name] for name in names if name in given)
        if len(texts) == len(names) and all(isinstance(text, str) for text in texts):
            return Record(texts, label)
    known = "; ".join(" and ".join(names) for names in PAIR_NAMES)
    raise UsageError(f"{where}: expected a mapping with text, tokens, or {known}; got {', '.join(map(str, given))}.")


def read_texts(file: Path) -> Iterator[Given]:
    """Yields the texts of a file: one a line, or, from a `.jsonl`, a string, a pair or a mapping a line.

    Raises:
        UsageError: when the file is missing, is not UTF-8, or has a line that is not JSON.
    """
    if not file.is_file():
        raise UsageError(f"file '{file}': no such file. Give a text file, one text a line, or a .jsonl with pairs.")
    is_json = file.suffix.lower() in _JSON_LINES

    def lines() -> Iterator[Given]:
        with file.open(encoding="utf-8", newline="\n") as stream:
            try:
                for number, line in enumerate(stream, start=1):
                    text = line.rstrip("\r\n")
                    if not is_json or text.strip():
                        yield _parse(text, file, number) if is_json else text
            except UnicodeDecodeError as reason:
                raise UsageError(f"file '{file}' is not UTF-8 text: {reason}. Convert it first.") from reason

    return lines()


def _parse(line: str, file: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as reason:
        raise UsageError(
            f"file '{file}', line {number}: not JSON: {reason}. "
            'Write a string, ["first", "second"] or {"query": …, "passage": …} a line.'
        ) from reason
