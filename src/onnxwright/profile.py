"""The least, usual and most size of each named dim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from onnxwright.errors import ProfileError


class Range(NamedTuple):
    """Sizes that one dim may take; both ends are included."""

    least: int
    usual: int
    most: int


class Profile(Mapping[str, Range]):
    """Least, usual and most size for each named dim, as in `Profile(batch=(1, 8, 32), sequence=(1, 128, 512))`.

    Raises:
        ProfileError: when a range is not three ordered sizes, the first at least zero and the second at least one.
    """

    def __init__(self, ranges: Mapping[str, tuple[int, int, int]] | None = None, /, **named: tuple[int, int, int]):
        merged = {**(ranges or {}), **named}
        self._ranges = {dim: _ordered(dim, sizes) for dim, sizes in merged.items()}

    def __getitem__(self, dim: str) -> Range:
        return self._ranges[dim]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __repr__(self) -> str:
        return f"Profile({', '.join(f'{dim}={tuple(sizes)}' for dim, sizes in self.items())})"

    @property
    def least(self) -> dict[str, int]:
        """The least size of every dim."""
        return {dim: sizes.least for dim, sizes in self.items()}

    @property
    def usual(self) -> dict[str, int]:
        """The usual size of every dim."""
        return {dim: sizes.usual for dim, sizes in self.items()}

    @property
    def most(self) -> dict[str, int]:
        """The greatest size of every dim."""
        return {dim: sizes.most for dim, sizes in self.items()}

    def replace(self, ranges: Mapping[str, tuple[int, int, int]]) -> Profile:
        """Returns a profile in which the given dims have new ranges.

        Raises:
            ProfileError: when a range is for a dim that this profile doesn't have.
        """
        for dim in ranges:
            if dim not in self:
                has = f"it has {', '.join(self)}" if self else "all of its dims are fixed"
                raise ProfileError(f"range for dim '{dim}': the model has no such dim; {has}.")
        return Profile({**self._ranges, **ranges})

    def within(self, box: Mapping[str, tuple[int, int]]) -> Profile:
        """Returns the profile of a box of sizes: its dims, and the usual sizes or what lies nearest to them there."""
        return Profile({dim: (low, min(max(self[dim].usual, low), high), high) for dim, (low, high) in box.items()})


def _ordered(dim: str, sizes: tuple[int, int, int]) -> Range:
    if [type(size) for size in sizes] != [int, int, int]:
        raise ProfileError(f"range of dim '{dim}': expected three whole numbers MIN, OPT, MAX, got {sizes!r}.")
    found = Range(*sizes)
    if not (0 <= found.least <= found.usual <= found.most and found.usual > 0):
        told = f"{found.least}, {found.usual}, {found.most}"
        raise ProfileError(f"range of dim '{dim}': expected 0 <= MIN <= OPT <= MAX and OPT at least 1, got {told}.")
    return found
