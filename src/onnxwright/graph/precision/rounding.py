"""Weights rounded to few bits, in blocks that have a scale and a zero each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
_NORM, _SHARPNESS, _SHARPENING, _STEPS = 0.7, 10.0, 1.01, 20
"""Of the half-quadratic solver, as its authors chose them: p, beta, kappa, and most iterations."""
_PART: Final = 1 << 22
"""So many weights are rounded at once."""


@dataclass(frozen=True)
class Blocks:
    """Whole numbers of so many bits, as [row, block, place in block]; a weight is `(code - zero) * scale` of its block.

    `zeros` are whole numbers, unless `hqq` may choose others.
    """

    codes: Array
    scales: Array
    zeros: Array

    def numbers(self, columns: int) -> Array:
        """Returns the weights that these stand for, as [row, column]."""
        wide = (self.codes.astype(np.float32) - self.zeros[..., None]) * self.scales[..., None]
        return wide.reshape(len(wide), -1)[:, :columns]


def rounded(weight: Array, bits: int, block: int, method: str, *, has_whole_zeros: bool = True) -> Blocks:
    """Rounds a matrix [row, column] in blocks of so many columns, the last of which is filled up with zeros."""
    rows = max(1, _PART // max(weight.shape[1], 1))
    parts = [
        _rounded(weight[start : start + rows], 2**bits - 1, block, method, has_whole_zeros=has_whole_zeros)
        for start in range(0, len(weight), rows)
    ]
    return Blocks(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scales for part in parts]),
        np.concatenate([part.zeros for part in parts]),
    )


def _rounded(weight: Array, most: int, block: int, method: str, *, has_whole_zeros: bool) -> Blocks:
    missing = -weight.shape[1] % block
    padded = np.pad(weight.astype(np.float32, copy=False), ((0, 0), (0, missing))).reshape(len(weight), -1, block)
    found = METHODS[method](padded, most)
    if has_whole_zeros and method == "hqq":
        return _with_zeros(padded, found.scales, np.clip(np.rint(found.zeros), 0, most), most)
    return found


def _nearest(weight: Array, most: int) -> Blocks:
    """Rounds to the nearest of the steps between the least and the largest number of a block, 0 among them."""
    least, largest = np.minimum(weight.min(axis=2), 0), np.maximum(weight.max(axis=2), 0)
    scales = _unless_zero((largest - least) / np.float32(most))
    return _with_zeros(weight, scales, np.clip(np.rint(-least / scales), 0, most), most)


def _symmetric(weight: Array, most: int) -> Blocks:
    """Rounds to the nearest of steps that lie around 0, as engines want it that take no zero point."""
    middle = np.float32((most + 1) // 2)
    scales = _unless_zero(np.abs(weight).max(axis=2) / (middle - 1))
    return _with_zeros(weight, scales, np.full_like(scales, middle), most)


def _half_quadratic(weight: Array, most: int) -> Blocks:
    """Rounds with the zero of each block where the weights lose least, in a norm that lets a few be far off.

    Half-quadratic quantization: Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023
    (https://mobiusml.github.io/hqq_blog/). The scale stays; in turns, while the error gets less,
    `e = shrink(w - w', beta)` and `z = mean(q - (w - e) / scale)`.
    """
    least, largest = weight.min(axis=2), weight.max(axis=2)
    scales = _unless_zero((largest - least) / np.float32(most))
    found = _with_zeros(weight, scales, np.rint(-least / scales), most)
    best, error, sharpness = found, _error(weight, found), _SHARPNESS
    for _ in range(_STEPS):
        lost = weight - (found.codes - found.zeros[..., None]) * scales[..., None]
        kept = _shrunk(lost, sharpness)
        zeros = (found.codes - (weight - kept) / scales[..., None]).mean(axis=2, dtype=np.float32)
        found = _with_zeros(weight, scales, zeros, most)
        sharpness *= _SHARPENING
        if (now := _error(weight, found)) >= error:
            break
        best, error = found, now
    return best


def _shrunk(lost: Array, sharpness: float) -> Array:
    size = np.abs(lost)
    less = (size + np.float32(1e-8)) ** np.float32(_NORM - 1) / np.float32(sharpness)
    return np.asarray(np.sign(lost) * np.maximum(size - less, 0))


def _error(weight: Array, blocks: Blocks) -> float:
    return float(np.abs(weight - (blocks.codes - blocks.zeros[..., None]) * blocks.scales[..., None]).mean())


def _with_zeros(weight: Array, scales: Array, zeros: Array, most: int) -> Blocks:
    codes = np.clip(np.rint(weight / scales[..., None] + zeros[..., None]), 0, most).astype(np.uint8)
    return Blocks(codes, scales, zeros.astype(np.float32))


def _unless_zero(scales: Array) -> Array:
    return np.where(scales > 0, scales, 1).astype(np.float32)


METHODS: Final[Mapping[str, Callable[[Array, int], Blocks]]] = {
    "rtn": _nearest,
    "rtn-symmetric": _symmetric,
    "hqq": _half_quadratic,
}
"""How weights are rounded, by name: to the nearest step, with or without a zero of their own, or half-quadratically."""
