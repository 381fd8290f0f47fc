"""A package that `convert` wrote: its graph as exported is the reference, and what it is for is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from onnxwright.artifact import Package
from onnxwright.loaders import onnxfile
from onnxwright.loaders.texts import text_rows
from onnxwright.manifest import EXPORTED
from onnxwright.samples import Tensors, TextRows
from onnxwright.source import Source
from onnxwright.tasks import ENCODED
from onnxwright.text import FILE_NAME, Tokenizer, built_in


def load(folder: Path, ranges: Mapping[str, tuple[int, int, int]], texts: Sequence[str] = ()) -> Source:
    """Reads the graph of a package, with the range that was proven unless others are given, and texts to sample.

    Raises:
        SourceError: when the package isn't whole, or its graph was altered.
        ForwardError: when the graph can't be run.
    """
    package = Package.open(folder)
    proven = package.profile.within(package.manifest.variants[EXPORTED].proof.range)
    known = {dim: (sizes.least, sizes.usual, sizes.most) for dim, sizes in proven.items()}
    loaded = onnxfile.load(package.proven_file(EXPORTED), {**known, **ranges})
    sampler = loaded.sampler
    if package.task is not None and (folder / FILE_NAME).is_file() and set(package.signature.input_names) <= {*ENCODED}:
        sampler = replace(sampler, text=_text_rows(Tokenizer.open(folder), texts or built_in()))
    return replace(
        loaded,
        sampler=sampler,
        name=folder.resolve().name,
        task=package.task,
        task_options=dict(package.manifest.task_options),
        folder=folder,
    )


def _text_rows(tokenizer: Tokenizer, lines: Sequence[str]) -> TextRows | None:
    """Real text as input tensors; none where the tokenizer has no way to fill short ones up."""
    if tokenizer.padding.token is None:
        return None
    (nothing,) = tokenizer.encode([""])

    def encode(texts: list[str], length: int) -> Tensors:
        padded = [tokenizer.pad(one, length) for one in tokenizer.encode(texts, max_length=length)]
        return {name: np.array([getattr(one, column) for one in padded]) for name, column in ENCODED.items()}

    return text_rows(lines, len(nothing), encode)
