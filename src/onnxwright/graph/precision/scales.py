"""Scales of int8: which numbers 256 steps stand for, and what becomes of numbers that are rounded to them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from onnxwright import environment

Array = np.ndarray[Any, np.dtype[Any]]

_STEPS: Final = 255
_LARGEST: Final = 127
_HALF: Final = 64
_LEAST_SCALE: Final = 1e-12
_BLOCK: Final = 1 << 22
"""So many weights are widened at once."""


@dataclass(frozen=True)
class Scale:
    """Numbers `scale * (whole - zero)`; `whole` is uint8, or int8 where `zero` is None and the scale symmetric."""

    scale: float
    zero: int | None

    @classmethod
    def of(cls, least: float, most: float, *, is_symmetric: bool) -> Scale:
        """Returns the finest scale that holds the numbers from `least` to `most`, and zero itself exactly."""
        least, most = min(least, 0.0), max(most, 0.0)
        if is_symmetric:
            return cls(max(-least, most, _LEAST_SCALE) / _LARGEST, None)
        scale = max(most - least, _LEAST_SCALE) / _STEPS
        return cls(scale, round(-least / scale))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the whole numbers."""
        return np.dtype(np.int8 if self.zero is None else np.uint8)

    def rounded(self, array: Array) -> Array:
        """Returns numbers as they come back from this scale, in float32: ONNX rounds half to even, and saturates."""
        zero = self.zero or 0
        low, high = (-128, _LARGEST) if self.zero is None else (0, _STEPS)
        whole = np.clip(np.rint(array / np.float32(self.scale)) + zero, low, high)
        return np.asarray((whole - zero) * np.float32(self.scale), np.float32)


@functools.cache
def largest_weight() -> int:
    """Returns the largest whole number of a weight: 127, or 64 where a pair of products wouldn't fit into 16 bits.

    Two times 255 times 64 does; ONNX Runtime and OpenVINO call that a reduced range, and half a range.
    """
    return _HALF if environment.saturates() else _LARGEST


def quantized(weight: Array, axis: int | None, *, share: float = 1.0) -> tuple[Array, Array]:
    """Returns a weight in int8, and its symmetric scale: one for each place of an axis, or one for all.

    With a `share` less than 1, what is larger than that part of the largest saturates.
    """
    largest = largest_weight()
    others = None if axis is None else tuple(place for place in range(weight.ndim) if place != axis % weight.ndim)
    scale = np.maximum(np.abs(weight).max(axis=others, keepdims=True) * share, _LEAST_SCALE) / largest
    scale = scale.astype(np.float32)
    whole = np.empty(weight.shape, np.int8)
    rows = max(1, _BLOCK * len(weight) // max(weight.size, 1)) if weight.ndim else 1
    for start in range(0, len(weight), rows):
        part = slice(start, start + rows)
        own = scale[part] if scale.shape[0] == len(weight) else scale
        whole[part] = np.clip(np.rint(weight[part] / own), -largest, largest)
    return whole, scale.reshape(-1) if axis is not None else scale.reshape(())


def restored(whole: Array, scale: Array, axis: int | None) -> Array:
    """Returns the numbers that a quantized weight stands for."""
    if axis is None:
        return np.asarray(whole * scale, np.float32)
    shape = [1] * whole.ndim
    shape[axis] = -1
    return np.asarray(whole * scale.reshape(shape), np.float32)
