"""The largest box of sizes in which everything that was tried agrees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

Sizes = Mapping[str, int]
Box = dict[str, tuple[int, int]]
Agrees = Callable[[Sizes], bool]


def largest_box(
    whole: Box, agreed: Sequence[Sizes], failed: Sequence[Sizes], anchor: Sizes, agrees: Agrees
) -> Box | None:
    """Cuts `whole` until no failed point is left in it, keeping `anchor`; its ends are sizes that agreed.

    A failed point is cut off along a dim that is to blame: with the anchor's size in that dim alone, the point
    `agrees`. Where several are, the one that keeps the most. Returns None when the anchor itself has failed.
    """
    box = dict(whole)
    while point := next((one for one in failed if contains(box, one)), None):
        dims = [dim for dim in box if point[dim] != anchor[dim]]
        if not dims:
            return None
        blamed = [dim for dim in dims if agrees({**point, dim: anchor[dim]})] or dims
        box = max((_cut(box, dim, point, agreed, anchor) for dim in blamed), key=_extent)
    return box


def contains(box: Box, point: Sizes) -> bool:
    """Whether a point lies in a box, its ends included."""
    return all(low <= point[dim] <= high for dim, (low, high) in box.items())


def clamped(box: Box, point: Sizes) -> dict[str, int]:
    """Returns the point of a box that is nearest to a given one."""
    return {dim: max(low, min(high, point[dim])) for dim, (low, high) in box.items()}


def nearest(points: Iterable[Sizes], target: Sizes) -> Sizes | None:
    """Returns the point nearest to a target, by ratios of sizes."""
    return min(points, key=lambda point: distance(point, target), default=None)


def distance(point: Sizes, other: Sizes) -> float:
    """Returns how far two points lie apart, by ratios of sizes."""
    return sum(abs(math.log((point[dim] + 1) / (other[dim] + 1))) for dim in other)


def _cut(box: Box, dim: str, point: Sizes, agreed: Sequence[Sizes], anchor: Sizes) -> Box:
    low, high = box[dim]
    known = {good[dim] for good in agreed if contains(box, good)} | {anchor[dim]}
    if point[dim] < anchor[dim]:
        return {**box, dim: (min(size for size in known if point[dim] < size <= anchor[dim]), high)}
    return {**box, dim: (low, max(size for size in known if anchor[dim] <= size < point[dim]))}


def _extent(box: Box) -> float:
    return math.prod(high - low + 1 for low, high in box.values())
