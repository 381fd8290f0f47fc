"""Any model that onnxwright takes, as a `Source`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxwright.errors import MissingExtraError, SourceError, UsageError
from onnxwright.source import Source
from onnxwright.stages.run import read_texts

if TYPE_CHECKING:
    from torch import nn


def load(
    source: str | Path | nn.Module,
    *,
    example_inputs: Any = None,
    dims: Mapping[str, Mapping[int, str]] | None = None,
    ranges: Mapping[str, tuple[int, int, int]] | None = None,
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
    texts, tensors = read_samples(samples)
    loaded = _load(source, example_inputs, dims, ranges or {}, task, texts, is_code_trusted=is_code_trusted)
    if texts and loaded.sampler.text is None:
        raise UsageError(
            f"samples '{samples}': texts need a tokenizer, and '{loaded.name}' has none. Give an .npz file."
        )
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
    if not file.is_file():
        raise UsageError(f"samples '{file}': no such file. Give texts, one a line, or an .npz with one array an input.")
    if file.suffix == ".npz":
        try:
            with np.load(file, allow_pickle=False) as saved:
                return [], dict(saved)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as problem:
            raise UsageError(f"samples '{file}': not an .npz file of plain arrays: {problem}") from problem
    texts = [" ".join(one) if isinstance(one, (tuple, list)) else str(one) for one in read_texts(file)]
    if not texts:
        raise UsageError(f"samples '{file}': no text in it; expected one a line.")
    return texts, {}


def _load(
    source: str | Path | nn.Module,
    example_inputs: Any,
    dims: Mapping[str, Mapping[int, str]] | None,
    given: Mapping[str, tuple[int, int, int]],
    task: str,
    texts: list[str],
    *,
    is_code_trusted: bool,
) -> Source:
    if not isinstance(source, (str, Path)):
        return _load_module(source, example_inputs, dims, given)
    if example_inputs is not None or dims is not None:
        raise UsageError("example_inputs and dims: expected with an nn.Module only; a path or hub id brings its own.")
    text = str(source)
    path = Path(text)
    if path.suffix == ".onnx":
        return _load_onnx(path, given)
    _require_torch()
    if ".py:" in text:
        from onnxwright.loaders import factory

        return factory.load(text, given)
    if path.is_file():
        raise SourceError(
            f"source '{text}': a {path.suffix or 'plain'} file is not a source. "
            "Expected a folder, a hub id, path/to/file.py:factory, or a .onnx file."
        )
    from onnxwright.loaders import huggingface

    return huggingface.load(text, given, task_name=task, is_code_trusted=is_code_trusted, texts=texts)


def _load_module(module: Any, example_inputs: Any, dims: Any, ranges: Mapping[str, tuple[int, int, int]]) -> Source:
    _require_torch()
    from onnxwright.loaders import module as modules

    if example_inputs is None:
        raise UsageError("example_inputs: expected a dict of name to tensor beside a module, got nothing.")
    return modules.load(module, example_inputs, dims, ranges)


def _load_onnx(file: Path, ranges: Mapping[str, tuple[int, int, int]]) -> Source:
    from onnxwright.loaders import onnxfile

    if not file.is_file():
        raise SourceError(f"source '{file}': no such file.")
    return onnxfile.load(file, ranges)


def _require_torch() -> None:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError('converting needs PyTorch. Run `pip install "onnxwright[convert]"`.')
