"""The samples by which a variant is made and judged: one half calibrates, the other judges."""

from __future__ import annotations

import hashlib
import itertools
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxwright.backends import Array, Tensors
from onnxwright.dtypes import is_float, to_numpy
from onnxwright.errors import UsageError
from onnxwright.findings import Finding
from onnxwright.losses import Given, Loss, loss_of
from onnxwright.pipelines import prepare
from onnxwright.records import ARRAYS, Record, read_arrays, read_labels, read_records
from onnxwright.signature import Dim, TensorSpec
from onnxwright.source import Source
from onnxwright.tasks import ENCODED, Task, task
from onnxwright.text import FILE_NAME, Encoding, Text, Tokenizer, built_in

FEW: Final = 8
"""With fewer different samples, an interval says little."""
MOST: Final = 512
"""So many samples are used unless more are asked for."""
_DRAWN: Final = 64
"""So many inputs are drawn where there are no samples."""
_BATCH: Final = "batch"
_DRAWS: Final = 8

_ROOM: Final = 8
"""So many tokens are left for a second text at least, special ones included; the first has no more than bytes."""
_UNKNOWN: Final = 0.05
_CHARACTERS_OF_A_TOKEN: Final = 1.4
"""Of a language that a tokenizer was made for, tokens have more characters than that."""


@dataclass(frozen=True)
class Corpus:
    """Inputs of a model in two halves, where they come from, and what is to be known of them.

    No sample is in both halves, nor one that equals it. `labels` are those of the judged half, as the loss takes them.
    """

    calibration: Sequence[Tensors]
    judged: Sequence[Tensors]
    origin: str
    labels: Sequence[Any] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class _Sample:
    """What stays together in one half: rows for the graph (two for a pair of texts to embed), and their label."""

    rows: tuple[Tensors, ...]
    label: Any = None

    @property
    def key(self) -> str:
        """Equal for equal samples."""
        content = hashlib.sha256()
        for row in self.rows:
            for name, array in sorted(row.items()):
                content.update(f"{name} {array.dtype.name} {array.shape}".encode() + array.tobytes())
        return content.hexdigest()


@dataclass(frozen=True)
class _Stock:
    """All samples that there are; so many rows of them are put together for one call."""

    samples: Sequence[_Sample]
    origin: str
    rows_at_once: int = 1
    findings: tuple[Finding, ...] = ()


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
    return Corpus(calibration, judged, stock.origin, known, stock.findings)


def _gather(source: Source, file: Path | None, labels: Sequence[Any] | None, seed: int) -> _Stock:
    if file is not None and not file.is_file():
        raise UsageError(f"samples '{file}': no such file. Give texts, one a line, or an .npz with one array an input.")
    if file is not None and file.suffix == ARRAYS:
        return _cut_out(source, file, labels)
    tokenizer = _tokenizer(source)
    if file is None:
        return _drawn(source, seed) if tokenizer is None else _of_built_in(source, tokenizer)
    if tokenizer is None:
        raise UsageError(f"samples '{file}': texts need a tokenizer, and '{source.name}' has none. Give an .npz file.")
    records = read_records(file)
    if not records:
        raise UsageError(f"samples '{file}': no text in it; expected one a line.")
    return _encoded(source, tokenizer, _labelled(records, labels), f"{len(records)} texts of '{file.name}'")


def _split(stock: _Stock, count: int, seed: int) -> tuple[Sequence[_Sample], Sequence[_Sample], int]:
    """Returns two halves of at most `count` samples, and how many different ones they hold."""
    alike: dict[str, list[_Sample]] = {}
    for sample in stock.samples:
        alike.setdefault(sample.key, []).append(sample)
    if len(alike) < 2:
        told = f"all {len(stock.samples)} are the same" if len(stock.samples) > 1 else "there is one"
        raise UsageError(f"samples: {told}; expected some to make a variant, and others to judge it. Give more.")
    order = [list(alike)[place] for place in np.random.default_rng(seed).permutation(len(alike))][:count]
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    calibrating, judging = ([sample for key in half for sample in alike[key]] for half in halves)
    return calibrating, judging, len(order)


def _calls(samples: Sequence[_Sample], stock: _Stock, inputs: Sequence[TensorSpec]) -> list[Tensors]:
    """Puts rows together for as many calls as they fill."""
    at_once = stock.rows_at_once
    if len(samples) < at_once:
        raise UsageError(
            f"samples: the model takes batches of {at_once}, and one half holds {len(samples)}. Give more samples."
        )
    rows = [row for sample in samples[: len(samples) // at_once * at_once] for row in sample.rows]
    return [_joined(rows[at : at + at_once], inputs) for at in range(0, len(rows), at_once)]


def _joined(rows: Sequence[Tensors], inputs: Sequence[TensorSpec]) -> Tensors:
    counted = _counted(inputs)
    return {
        name: np.concatenate([row[name] for row in rows]) if len(rows) > 1 and name in counted else array
        for name, array in rows[0].items()
    }


def _counted(inputs: Sequence[TensorSpec]) -> list[str]:
    """Names the inputs whose axis 0 counts rows; the others are there once for all rows."""
    return [spec.name for spec in inputs if spec.shape and spec.shape[:1] == inputs[0].shape[:1]]


def _drawn(source: Source, seed: int) -> _Stock:
    rng = np.random.default_rng(seed)
    samples = [
        _Sample((source.sampler.draw(_sizes(source, rng), seed=int(rng.integers(1 << 31))),)) for _ in range(_DRAWN)
    ]
    message = f"No samples were given: a variant is made with and judged on {_DRAWN} random inputs."
    return _Stock(samples, f"{_DRAWN} random inputs", findings=(Finding("drawn-samples", message),))


def _sizes(source: Source, rng: np.random.Generator) -> Mapping[str, int]:
    """Draws sizes of one row, small ones as often as great ones; the traced sizes where these may not be."""
    for _ in range(_DRAWS):
        sizes = {
            dim: max(1, least) if dim == _BATCH else _between(max(1, least), most, rng)
            for dim, (least, _, most) in source.profile.items()
        }
        if source.is_within(sizes):
            return sizes
    return source.traced


def _between(least: int, most: int, rng: np.random.Generator) -> int:
    return round(math.exp(rng.uniform(math.log(least), math.log(most))))


def _of_built_in(source: Source, tokenizer: Tokenizer) -> _Stock:
    is_pair = task(str(source.task)).is_pair
    texts = _pairs(_longest(source, tokenizer)) if is_pair else [(text,) for text in built_in()]
    origin = f"{len(texts)} {'pairs of ' if is_pair else ''}built-in texts"
    stock = _encoded(source, tokenizer, [Record(each) for each in texts], origin)
    message = f"No samples were given: a variant is made with and judged on {origin}, not on yours."
    return replace(stock, findings=(Finding("built-in-samples", message), *stock.findings))


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
    _check_count(labels, len(records))
    return [replace(record, label=label) for record, label in zip(records, labels, strict=True)]


def _check_count(labels: Sequence[Any], samples: int) -> None:
    if len(labels) != samples:
        raise UsageError(f"labels: expected one for each of {samples} samples, got {len(labels)}.")


def _tokenizer(source: Source) -> Tokenizer | None:
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


def _encoded(source: Source, tokenizer: Tokenizer, records: Sequence[Record], origin: str) -> _Stock:
    chosen = task(str(source.task))
    texts = [_texts(record, chosen, number) for number, record in enumerate(records)]
    flat = [_prepared(text, source.task_options) for one in texts for text in one]
    limit = _longest(source, tokenizer)
    encodings = tokenizer.encode(flat, max_length=limit, cut=chosen.cut)
    _check_tokens(flat, encodings)
    at_once = _rows_at_once(source)
    least = _extent(source, 1)[0]
    length = least if at_once == 1 else max(least, *map(len, encodings))
    rows = iter([_row(tokenizer.pad(encoding, length), source.signature.inputs) for encoding in encodings])
    loss = loss_of(source.task, source.signature, source.task_options)
    firsts = itertools.accumulate(map(len, texts), initial=0)
    samples = [
        _Sample(tuple(next(rows) for _ in one), _label(loss, record, encodings[first]))
        for record, one, first in zip(records, texts, firsts, strict=False)
    ]
    return _Stock(samples, origin, at_once, (*_cut(encodings, limit), *_foreign(encodings, tokenizer.unknown)))


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
    limits = (_extent(source, 1)[1], tokenizer.model_max_length, source.task_options.get("max_length"))
    return min(limit for limit in limits if limit is not None)


def _extent(source: Source, axis: int) -> tuple[int, int]:
    """Returns least and most of an axis of the first input."""
    dim: Dim = source.signature.inputs[0].shape[axis]
    return (dim, dim) if isinstance(dim, int) else (source.profile[dim].least, source.profile[dim].most)


def _rows_at_once(source: Source) -> int:
    """Returns how few rows the model takes in one call."""
    return max(1, _extent(source, 0)[0])


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


def _is_wide(encoding: Encoding) -> bool:
    """Whether the text has characters that are words, or parts of words, by themselves."""
    return any(unicodedata.east_asian_width(character) in "WF" for text in encoding.texts for character in text)


def _cut_out(source: Source, file: Path, labels: Sequence[Any] | None) -> _Stock:
    """Takes an `.npz` apart along axis 0."""
    inputs = source.signature.inputs
    counted = _counted(inputs)
    if not counted:
        raise UsageError(f"samples '{file}': input '{inputs[0].name}' ({inputs[0]}) has no axis 0 to count samples by.")
    arrays, findings = _fitting(source, file, read_arrays(file))
    counts = {name: len(arrays[name]) for name in counted}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} in '{name}'" for name, count in counts.items())
        raise UsageError(f"samples '{file}': expected as many samples in each array, got {told}.")
    count = counts[counted[0]]
    if not count:
        raise UsageError(f"samples '{file}': no sample in it; expected one at each place of axis 0.")
    if labels is not None:
        _check_count(labels, count)
    samples = [
        _Sample(
            ({name: array[at : at + 1] if name in counts else array for name, array in arrays.items()},),
            None if labels is None else labels[at],
        )
        for at in range(count)
    ]
    return _Stock(samples, f"{count} samples of '{file.name}'", _rows_at_once(source), findings)


def _fitting(source: Source, file: Path, arrays: Tensors) -> tuple[Tensors, tuple[Finding, ...]]:
    """Checks the arrays, and cuts them to the range of each dim but that of axis 0."""
    names = source.signature.input_names
    if arrays.keys() != set(names):
        raise UsageError(f"samples '{file}': expected the arrays {', '.join(names)}, got {', '.join(arrays)}.")
    fitting, findings = {}, {}
    for spec in source.signature.inputs:
        array = arrays[spec.name]
        _check_array(file, spec, array)
        for axis, dim in enumerate(spec.shape[1:], start=1):
            if not isinstance(dim, str):
                continue
            least, _, most = source.profile[dim]
            size = array.shape[axis]
            if size < least:
                raise UsageError(f"samples '{file}': dim '{dim}' is {size}, less than {least}. Widen its range.")
            if size > most:
                findings[dim] = Finding("samples-cut", f"Dim '{dim}' of the samples is {size}, and was cut to {most}.")
                array = np.take(array, range(most), axis)
        fitting[spec.name] = array
    return fitting, tuple(findings.values())


def _check_array(file: Path, spec: TensorSpec, array: Array) -> None:
    if array.ndim != len(spec.shape):
        raise UsageError(
            f"samples '{file}', array '{spec.name}': expected {spec}, got {list(array.shape)}. Reshape it."
        )
    if not is_float(array.dtype.name):
        return
    broken = np.argwhere(~np.isfinite(array))
    if len(broken):
        row = f", row {broken[0][0]}" if array.ndim else ""
        raise UsageError(f"samples '{file}', array '{spec.name}'{row}: holds NaN or infinity. Leave that sample out.")
