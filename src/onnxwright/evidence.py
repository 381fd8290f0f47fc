"""Inputs with the reference's answers, small enough to travel with a package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Tensors
from onnxwright.errors import SourceError
from onnxwright.reference import Reference

MOST_ELEMENTS: Final = 4096
"""Of each output, this many elements are kept, drawn evenly by a seed."""
MOST_BYTES: Final = 1 << 20
"""Sizes whose inputs are larger than this are left out."""


class Point(msgspec.Struct, frozen=True):
    """One call: its inputs, and of each output the shape, some elements, and how far another answer may lie."""

    feeds: Tensors
    shapes: Mapping[str, tuple[int, ...]]
    elements: Tensors
    limits: Mapping[str, float]


def collect(reference: Reference, many: Sequence[Tensors], least: Mapping[str, float]) -> list[Point]:
    """Asks the reference, and keeps what is small enough; a limit is the output's own, or that of the noise here."""
    kept = [feeds for feeds in many if sum(array.nbytes for array in feeds.values()) <= MOST_BYTES]
    return [_point(reference, feeds, least) for feeds in kept]


def elements(output: Array) -> Array:
    """Returns the elements of an output that are kept: all, or an even draw that depends on its size alone."""
    flat = output.reshape(-1)
    if flat.size <= MOST_ELEMENTS:
        return flat
    chosen = np.random.default_rng(flat.size).choice(flat.size, MOST_ELEMENTS, replace=False)
    return flat[np.sort(chosen)]


def save(points: Sequence[Point], file: Path) -> None:
    """Writes points as a compressed `.npz`, without pickles."""
    arrays: dict[str, Array] = {}
    for number, point in enumerate(points):
        for name, array in point.feeds.items():
            arrays[f"{number}/feeds/{name}"] = _plain(array)
        for name, array in point.elements.items():
            arrays[f"{number}/elements/{name}"] = _plain(array)
            arrays[f"{number}/shapes/{name}"] = np.array(point.shapes[name], dtype=np.int64)
            arrays[f"{number}/limits/{name}"] = np.array(point.limits[name])
    with file.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read(file: Path, dtypes: Mapping[str, str]) -> Iterator[Point]:
    """Reads points back; `dtypes` are the element types of inputs and outputs by name.

    Raises:
        SourceError: when the file is missing or damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as saved:
            arrays = dict(saved)
    except (OSError, ValueError, EOFError) as problem:
        raise SourceError(f"'{file}' is damaged: {problem}. Convert the model again.") from problem
    for number in sorted({int(key.partition("/")[0]) for key in arrays}):
        parts = {part: _under(arrays, f"{number}/{part}/") for part in ("feeds", "elements", "shapes", "limits")}
        yield Point(
            feeds={name: _typed(array, dtypes[name]) for name, array in parts["feeds"].items()},
            shapes={name: tuple(array.tolist()) for name, array in parts["shapes"].items()},
            elements={name: _typed(array, dtypes[name]) for name, array in parts["elements"].items()},
            limits={name: float(array) for name, array in parts["limits"].items()},
        )


def _point(reference: Reference, feeds: Tensors, least: Mapping[str, float]) -> Point:
    answered = reference.session.run(feeds)
    noise = reference.noise(feeds, answered)
    return Point(
        feeds,
        {name: array.shape for name, array in answered.items()},
        {name: elements(array) for name, array in answered.items()},
        {name: max(least[name], min(tolerance.limit(noise[name]), tolerance.MOST_LIMIT)) for name in answered},
    )


def _under(arrays: Tensors, prefix: str) -> dict[str, Array]:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _plain(array: Array) -> Array:
    """Numpy can't save bfloat16 without a pickle: its bits are saved instead."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def _typed(array: Array, dtype: str) -> Array:
    if dtype != "bfloat16":
        return array
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16)
