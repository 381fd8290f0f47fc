"""Which sizes a proof tries, and in which order: those that tell the most first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from onnxwright.profile import Profile, Range

Sizes = dict[str, int]

_MOST_ENUMERATED = 10_000
_MOST_CORNERS = 32
_RANDOM = 6
_MOST_UNEVEN = 4096
_MOST_IN_GRID = 40_000


def resting(profile: Profile) -> Sizes:
    """Returns small sizes, none of them one and no two equal where the profile allows: where dims wait their turn."""
    return {dim: max(sizes.least, min(sizes.most, 2 + place)) for place, (dim, sizes) in enumerate(profile.items())}


def ends(profile: Profile) -> list[Sizes]:
    """Returns each end of each dim, the other dims at rest."""
    rest = resting(profile)
    return distinct([{**rest, dim: end} for dim, sizes in profile.items() for end in (sizes.least, sizes.most)])


def corners(profile: Profile) -> list[Sizes]:
    """Returns where all dims are at their least, usual or most, small sizes first; with many dims not all of them."""
    stops = [dict.fromkeys(sizes) for sizes in profile.values()]
    found = (dict(zip(profile, corner, strict=True)) for corner in itertools.product(*stops))
    small = sorted(itertools.islice(found, _MOST_ENUMERATED), key=volume)[:_MOST_CORNERS]
    return distinct([*small, profile.most])


def essential(profile: Profile, traced: Mapping[str, int], *, seed: int = 0) -> list[Sizes]:
    """Returns the sizes that tell the most, small ones first.

    Each dim alone at the traced size and its neighbours, at the usual size, and at powers of two and their
    neighbours, the others at rest; and some at random.
    """
    rest = resting(profile)
    moved = [{**rest, dim: size} for dim in profile for size in _telling(profile[dim], traced[dim])]
    return sorted(distinct([*moved, *_random(profile, seed)]), key=volume)


def neighbours(profile: Profile) -> list[Sizes]:
    """Returns each dim alone at multiples of eight, their neighbours, and primes, from small to large."""
    rest = resting(profile)
    moved = [{**rest, dim: size} for dim in profile for size in _uneven(profile[dim])]
    return sorted(distinct(moved), key=volume)


def sweep(profile: Profile) -> Iterator[Sizes]:
    """Yields every size of each dim, the others at rest, ever more finely: halves, then quarters, and so on."""
    rest = resting(profile)
    streams = [_moved(rest, dim, sizes) for dim, sizes in profile.items()]
    for group in itertools.zip_longest(*streams):
        yield from (sizes for sizes in group if sizes is not None)


def combinations(profile: Profile, *, seed: int = 0) -> Iterator[Sizes]:
    """Yields combinations of sizes of all dims in a random order: all of them where they are few."""
    count = math.prod(sizes.most - sizes.least + 1 for sizes in profile.values())
    rng = np.random.default_rng([seed, count])
    if count > _MOST_ENUMERATED:
        spans = [(sizes.least, sizes.most) for sizes in profile.values()]
        drawn = ([int(rng.integers(*span, endpoint=True)) for span in spans] for _ in range(_MOST_ENUMERATED))
        yield from (dict(zip(profile, sizes, strict=True)) for sizes in drawn)
        return
    every = list(itertools.product(*(range(sizes.least, sizes.most + 1) for sizes in profile.values())))
    yield from (dict(zip(profile, every[place], strict=True)) for place in rng.permutation(count))


def grid(profile: Profile) -> list[Sizes]:
    """Returns all combinations of sizes, evenly thinned in each dim where they are too many."""
    each = max(2, int(_MOST_IN_GRID ** (1 / max(len(profile), 1))))
    axes = [thinned(sizes, each) for sizes in profile.values()]
    return [dict(zip(profile, sizes, strict=True)) for sizes in itertools.product(*axes)]


def thinned(sizes: Range, count: int) -> list[int]:
    """Returns all sizes of a range or, where there are more than `count`, so many evenly spread."""
    if sizes.most - sizes.least < count:
        return list(range(sizes.least, sizes.most + 1))
    return sorted({int(size) for size in np.linspace(sizes.least, sizes.most, count)})


def volume(sizes: Mapping[str, int]) -> int:
    """Returns the product of all sizes, which costs roughly grow with."""
    product = 1
    for size in sizes.values():
        product *= max(size, 1)
    return product


def _telling(sizes: Range, traced: int) -> list[int]:
    least, usual, most = sizes
    wanted = {least, least + 1, least + 2, traced - 1, traced, traced + 1, usual, most - 1, most}
    power = 2
    while power <= most + 1:
        wanted |= {power - 1, power, power + 1}
        power *= 2
    return sorted(size for size in wanted if least <= size <= most)


def _uneven(sizes: Range) -> list[int]:
    least, _, most = sizes
    wanted = {multiple + step for multiple in range(8, min(most, _MOST_UNEVEN) + 2, 8) for step in (-1, 0, 1)}
    wanted |= {size for size in range(max(least, 2), min(most, _MOST_UNEVEN) + 1) if _is_prime(size)}
    return sorted(size for size in wanted if least <= size <= most)


def _is_prime(size: int) -> bool:
    return size > 1 and all(size % factor for factor in range(2, math.isqrt(size) + 1))


def _random(profile: Profile, seed: int) -> list[Sizes]:
    """Sizes that are even in their logarithms; large ones are left to the corners, which show more for the time."""
    rng = np.random.default_rng(seed)
    drawn = [{dim: int(_log_uniform(rng, sizes)) for dim, sizes in profile.items()} for _ in range(4 * _RANDOM)]
    return [sizes for sizes in drawn if volume(sizes) * 8 <= volume(profile.most)][:_RANDOM] if profile else []


def _log_uniform(rng: np.random.Generator, sizes: Range) -> float:
    low, high = np.log(sizes.least + 1), np.log(sizes.most + 2)
    return float(np.clip(np.floor(np.exp(rng.uniform(low, high)) - 1), sizes.least, sizes.most))


def _bisected(sizes: Range) -> Iterator[int]:
    spans = [(sizes.least, sizes.most)]
    while spans:
        yield from ((low + high) // 2 for low, high in spans)
        spans = [
            half
            for low, high in spans
            for half in ((low, (low + high) // 2 - 1), ((low + high) // 2 + 1, high))
            if half[0] <= half[1]
        ]


def _moved(rest: Sizes, dim: str, sizes: Range) -> Iterator[Sizes]:
    return ({**rest, dim: size} for size in _bisected(sizes))


def distinct(many: Iterable[Sizes]) -> list[Sizes]:
    """Returns each of some sizes once, in order."""
    return list({tuple(sizes.items()): sizes for sizes in many}.values())
