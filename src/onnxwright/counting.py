"""Inputs that count along a dim of another input: how long each row is, or where each of several pieces starts.

A module that packs rows, or makes a mask of lengths, takes no others than from 1 to the size of that dim.
"""

# ruff: noqa: ARG002 - every meaning draws with the same arguments

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from onnxwright.dtypes import is_float, to_numpy
from onnxwright.signature import TensorSpec

if TYPE_CHECKING:
    from onnxwright.samples import Values

Array = np.ndarray[Any, np.dtype[Any]]

_LENGTHS: Final = re.compile(r"_?len(gth)?s?(?=_|$)")
_CUMULATIVE: Final = re.compile(r"^cu_|_?(ind)?ptr$")
_OFFSETS: Final = re.compile(rf"offsets?(?=_|$)|{_CUMULATIVE.pattern}")


class Lengths(msgspec.Struct, frozen=True, tag="lengths", tag_field="kind", omit_defaults=True):
    """How long each row is, from `least` to the size of `dim`; one row is as long as it can be."""

    dtype: str
    dim: str
    least: int = 1
    is_descending: bool = False
    """Whether the longest rows come first."""

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns lengths; the least ones alone in the zero regime and where everything is masked."""
        most = sizes[self.dim]
        least = min(self.least, most)
        drawn = np.asarray(rng.integers(least, most, shape, endpoint=True))
        if values.scale == 0.0 or values.padding == "empty":
            drawn = np.full(shape, least)
        elif values.is_constant or values.padding == "full":
            drawn = np.full(shape, most)
        elif drawn.size:
            drawn.flat[0] = most
        if self.is_descending and shape:
            drawn = -np.sort(-drawn, axis=-1)
        return drawn.astype(to_numpy(self.dtype))


class Offsets(msgspec.Struct, frozen=True, tag="offsets", tag_field="kind", omit_defaults=True):
    """Where each of several pieces starts along `dim`: ascending from 0, no piece empty where that is possible.

    `is_closed` ones hold the end of the last piece, too.
    """

    dtype: str
    dim: str
    is_closed: bool = False

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns offsets along the last axis."""
        size, count = sizes[self.dim], shape[-1]
        inner = count - 1 - self.is_closed
        starts = np.arange(1, size)
        is_crowded = inner > len(starts)
        drawn = np.zeros(count, np.int64)
        if inner > 0:
            drawn[1 : 1 + inner] = np.sort(
                rng.integers(0, max(size, 1), inner) if is_crowded else rng.choice(starts, inner, replace=False)
            )
        if self.is_closed and count > 1:
            drawn[-1] = size
        return np.broadcast_to(drawn, shape).astype(to_numpy(self.dtype))


def counting(inputs: Sequence[TensorSpec], example: Mapping[str, Array] | None = None) -> dict[str, Lengths | Offsets]:
    """Finds the inputs that count along a dim of another one, by their names, and by the values of an example.

    Lengths are vectors that are called so; offsets are called so, or ascend from 0 in the example.
    """
    found = ((spec, _counts(spec, inputs, example)) for spec in inputs if _is_vector(spec))
    return {spec.name: meaning for spec, meaning in found if meaning is not None}


def _is_vector(spec: TensorSpec) -> bool:
    return len(spec.shape) == 1 and not is_float(spec.dtype) and spec.dtype != "bool"


def _counts(
    spec: TensorSpec, inputs: Sequence[TensorSpec], example: Mapping[str, Array] | None
) -> Lengths | Offsets | None:
    name = spec.name.lower()
    known = None if example is None or not example[spec.name].size else example[spec.name].astype(np.int64)
    is_called_so = bool(_OFFSETS.search(name))
    is_offsets = is_called_so if known is None else _ascends(known, is_called_so=is_called_so)
    if not is_offsets and not _LENGTHS.search(name):
        return None
    dim = _counted(spec, inputs, example)
    if dim is None or (known is not None and known.min() < 0):
        return None
    name_of_dim, size = dim
    if is_offsets:
        is_closed = bool(_CUMULATIVE.search(name)) if known is None or size is None else int(known[-1]) == size
        return Offsets(spec.dtype, name_of_dim, is_closed=is_closed)
    if known is None:
        return Lengths(spec.dtype, name_of_dim)
    is_descending = len(set(known.tolist())) > 1 and bool((np.diff(known) <= 0).all())
    return Lengths(spec.dtype, name_of_dim, min(1, int(known.min())), is_descending=is_descending)


def _ascends(values: Array, *, is_called_so: bool) -> bool:
    """Whether values start at 0 and never fall; not 0, 1, 2 …, which are positions, unless the name says otherwise."""
    is_ascending = values[0] == 0 and bool((np.diff(values) >= 0).all())
    is_telling = len(values) > 2 and values[-1] > 0 and not np.array_equal(values, np.arange(len(values)))
    return is_ascending and (is_called_so or is_telling)


def _counted(
    spec: TensorSpec, inputs: Sequence[TensorSpec], example: Mapping[str, Array] | None
) -> tuple[str, int | None] | None:
    """The dim along which an input counts, and its size in the example; None where no dim is as long as that.

    First one of the input of which it has the name (`text_lengths`, `text`), with which it shares its own dim, or
    that is as long as the greatest value says.
    """
    greatest = None if example is None else int(example[spec.name].max(initial=0))
    stem = _LENGTHS.sub("", _OFFSETS.sub("", spec.name.lower())).strip("_")
    choices: list[tuple[tuple[bool, bool, bool], str, int | None]] = []
    for other, dim, size in _dims(inputs, example):
        if other.name != spec.name and dim not in spec.shape and (greatest is None or (size or 0) >= greatest):
            is_related = bool(stem) and (other.name.lower().startswith(stem) or stem.startswith(other.name.lower()))
            choices.append(((not is_related, spec.shape[0] not in other.shape, size != greatest), dim, size))
    best = min(choices, key=lambda choice: choice[0], default=None)
    return best and (best[1], best[2])


def _dims(
    inputs: Sequence[TensorSpec], example: Mapping[str, Array] | None
) -> Iterator[tuple[TensorSpec, str, int | None]]:
    for spec in inputs:
        for axis, dim in enumerate(spec.shape):
            if isinstance(dim, str):
                yield spec, dim, None if example is None else example[spec.name].shape[axis]
