"""Sizes, ranges and amounts of memory as people read them."""

from __future__ import annotations

from collections.abc import Mapping

_LEAST_GIB = 2**29


def in_sizes(sizes: Mapping[str, int | tuple[int, int]]) -> str:
    """Says sizes or ranges: `batch 1, sequence 9…512`."""
    return ", ".join(f"{dim} {_in_span(size)}" for dim, size in sizes.items()) or "its only size"


def in_equations(sizes: Mapping[str, int]) -> str:
    """Says what sizes are: `batch = 1, sequence = 16`."""
    return ", ".join(f"{dim} = {size}" for dim, size in sizes.items())


def in_bytes(count: int) -> str:
    """Says an amount of memory: `1.5 GiB`, `96 MiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= _LEAST_GIB else f"{count / 2**20:.0f} MiB"


def _in_span(size: int | tuple[int, int]) -> str:
    if isinstance(size, int):
        return str(size)
    least, most = size
    return str(least) if least == most else f"{least}…{most}"
