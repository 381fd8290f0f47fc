"""Samples before they are dealt into halves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnxwright.backends import Tensors
from onnxwright.findings import Finding
from onnxwright.signature import Dim, TensorSpec
from onnxwright.source import Source


@dataclass(frozen=True)
class Sample:
    """What stays together in one half: rows for the graph (two for a pair of texts to embed), and their label."""

    rows: tuple[Tensors, ...]
    label: Any = None

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for equal samples: a digest of each row."""
        return tuple(map(_digest, self.rows))


@dataclass(frozen=True)
class Stock:
    """All samples that there are; so many rows of them are put together for one call."""

    samples: Sequence[Sample]
    origin: str
    rows_at_once: int = 1
    findings: tuple[Finding, ...] = ()
    specials: frozenset[int] = frozenset()
    """The ids of tokens that a tokenizer added."""


def extent(source: Source, axis: int) -> tuple[int, int]:
    """Returns least and most of an axis of the first input."""
    dim: Dim = source.signature.inputs[0].shape[axis]
    return (dim, dim) if isinstance(dim, int) else (source.profile[dim].least, source.profile[dim].most)


def rows_at_once(source: Source) -> int:
    """Returns how few rows the model takes in one call."""
    return max(1, extent(source, 0)[0])


def counted(inputs: Sequence[TensorSpec]) -> list[str]:
    """Names the inputs whose axis 0 counts rows; the others are there once for all rows."""
    return [spec.name for spec in inputs if spec.shape and spec.shape[:1] == inputs[0].shape[:1]]


def _digest(row: Tensors) -> str:
    content = hashlib.sha256()
    for name, array in sorted(row.items()):
        content.update(f"{name} {array.dtype.name} {array.shape}".encode() + array.tobytes())
    return content.hexdigest()
