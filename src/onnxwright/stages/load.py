"""Any model that onnxwright takes, as a `Source`."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnxwright import environment, tasks
from onnxwright.artifact import is_package
from onnxwright.errors import MissingExtraError, SourceError, UsageError
from onnxwright.records import ARRAYS, check_samples, read_arrays, read_records, without_tokenizer
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import nn

Ranges = Mapping[str, tuple[int, int, int]]

_EXPECTED: Final = "Expected a folder, a hub id, path/to/file.py:factory, or a .onnx file."
_HUB_ID: Final = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def load(  # noqa: PLR0913 - the words that users give, as in `onnxwright.convert`
    source: str | Path | nn.Module,
    *,
    example_inputs: Any = None,
    dims: Mapping[str, Mapping[int, str]] | None = None,
    ranges: Ranges | None = None,
    task: str = "auto",
    samples: Path | None = None,
    is_code_trusted: bool = False,
) -> Source:
    """Loads a Hugging Face folder, a hub id, `file.py:factory`, an `.onnx` file, or a module with example inputs.

    `ranges` are least, usual and most for each named dim; the others get their defaults. `samples` is a file of
    texts, one a line (`.jsonl`: a string a line), for a model with a tokenizer, or an `.npz` with one array an input.

    Raises:
        SourceError: when the source is missing, damaged, or not a model.
        SignatureError: when example inputs don't fit the module.
        ModelError: when the checkpoint isn't whole, or the module raises.
    """
    if task != "auto":
        tasks.task(task)
    texts, tensors = read_samples(samples)
    if not isinstance(source, (str, Path)):
        loaded = _load_module(source, example_inputs, dims, ranges or {})
    elif example_inputs is not None or dims is not None:
        raise UsageError("example_inputs and dims: expected with an nn.Module only; a path or hub id brings its own.")
    else:
        loaded = _load_named(str(source), ranges or {}, task, texts, is_code_trusted=is_code_trusted)
    if task not in ("auto", loaded.task):
        raise UsageError(f"task '{task}': expected with a Hugging Face model; '{loaded.name}' is none. Leave it out.")
    if samples is not None and texts and loaded.sampler.text is None:
        raise without_tokenizer(samples, loaded.name)
    if tensors:
        loaded.signature.bind(tensors)
        sampler = replace(loaded.sampler, given=(*loaded.sampler.given, tensors))
        return replace(loaded, sampler=sampler)
    return loaded


def read_samples(file: Path | None) -> tuple[list[str], dict[str, Any]]:
    """Reads a user's samples: texts, or one array an input.

    Raises:
        UsageError: when the file is missing, damaged or empty.
    """
    if file is None:
        return [], {}
    check_samples(file)
    if file.suffix == ARRAYS:
        return [], read_arrays(file)
    return [" ".join(record.texts).strip() for record in read_records(file)], {}


def _load_named(text: str, ranges: Ranges, task: str, texts: Sequence[str], *, is_code_trusted: bool) -> Source:
    if not text.strip():
        raise SourceError(f"source: is empty. {_EXPECTED}")
    path = environment.at_home(text)
    if path.suffix == ".onnx":
        return _load_onnx(path, ranges)
    if is_package(path):
        require_onnx()
        from onnxwright.loaders import package

        return package.load(path, ranges, texts)
    is_factory = ".py:" in text or path.suffix == ".py"
    if not is_factory and not path.is_dir():
        _check_hub_id(text, path)
    require_torch()
    if is_factory:
        from onnxwright.loaders import factory

        return factory.load(path, ranges)
    from onnxwright.loaders import huggingface

    wanted = huggingface.Wanted(task, texts, is_code_trusted=is_code_trusted)
    folder = path if path.is_dir() else huggingface.download(text)
    return huggingface.load(folder, ranges, wanted, name=path.resolve().name if path.is_dir() else text)


def _check_hub_id(text: str, path: Path) -> None:
    if path.exists():
        kind = f"a {path.suffix} file" if path.suffix else "a file without suffix"
        raise SourceError(f"source '{text}': {kind} is not a source. {_EXPECTED}")
    if not _HUB_ID.fullmatch(text):
        raise SourceError(f"source '{text}': no such file or folder. {_EXPECTED}")


def _load_module(module: Any, example_inputs: Any, dims: Any, ranges: Ranges) -> Source:
    require_torch()
    from onnxwright.loaders import module as modules

    if example_inputs is None:
        raise UsageError("example_inputs: expected a dict of name to tensor beside a module, got nothing.")
    return modules.load(module, example_inputs, dims, ranges)


def _load_onnx(file: Path, ranges: Ranges) -> Source:
    if not file.is_file():
        raise SourceError(f"source '{file}': {'is a folder, not a file' if file.is_dir() else 'no such file'}.")
    require_onnx()
    from onnxwright.loaders import onnxfile

    return onnxfile.load(file, ranges)


def require_onnx() -> None:
    """Refuses to read ONNX files where the libraries that read them are not installed.

    Raises:
        MissingExtraError: naming the extra that brings them.
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnx_ir")):
        raise MissingExtraError('ONNX files need onnx and onnx-ir. Run `pip install "onnxwright[convert]"`.')


def require_torch() -> None:
    """Refuses what needs PyTorch where it is not installed.

    Raises:
        MissingExtraError: naming the extra that brings it.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError('converting needs PyTorch. Run `pip install "onnxwright[convert]"`.')
