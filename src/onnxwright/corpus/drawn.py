"""Samples for whoever has none and a model that takes no text: inputs that are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from onnxwright.corpus.stock import Sample, Stock
from onnxwright.findings import Finding
from onnxwright.source import Source

_DRAWN: Final = 64
"""So many inputs are drawn."""
_BATCH: Final = "batch"
_DRAWS: Final = 8


def drawn(source: Source, *, seed: int) -> Stock:
    """Returns inputs of one row, or of as few as the model takes, at sizes all over the profile."""
    rng = np.random.default_rng(seed)
    samples = [
        Sample((source.sampler.draw(_sizes(source, rng), seed=int(rng.integers(1 << 31))),)) for _ in range(_DRAWN)
    ]
    message = f"No samples were given: a variant is made with and judged on {_DRAWN} random inputs."
    return Stock(samples, f"{_DRAWN} random inputs", findings=(Finding("drawn-samples", message),))


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
