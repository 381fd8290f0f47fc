"""Rows of text in columns, and ranges and comparisons in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onnxwright.manifest import Latency
from onnxwright.stages.measure import in_words
from onnxwright.words import in_sizes

Rows = Iterable[Sequence[str]]


def columns(rows: Rows) -> str:
    """Lines up all columns but the last of each row, a kind of row by itself."""
    listed = [tuple(row) for row in rows]
    widths: dict[tuple[str, int, int], int] = {}
    for row in listed:
        for column, cell in enumerate(row[:-1]):
            key = (row[0], len(row), column)
            widths[key] = max(widths.get(key, 0), len(cell))
    first = max(len(row[0]) for row in listed)
    return "\n".join(
        "  ".join(
            cell.ljust(first if column == 0 else widths.get((row[0], len(row), column), 0))
            for column, cell in enumerate(row)
        ).rstrip()
        for row in listed
    )


def in_range(sizes: Sequence[int]) -> str:
    """Says a range in words: "1 to 32", or "8" when there is one size."""
    least, most = sizes[0], sizes[-1]
    return str(least) if least == most else f"{least} to {most}"


def in_ranges(ranges: Mapping[str, Sequence[int]]) -> str:
    """Says the range of each dim in words."""
    return ", ".join(f"{dim} {in_range(sizes)}" for dim, sizes in ranges.items()) or "no dims that vary"


def in_details(details: Mapping[str, Any]) -> str:
    """Says a table of details in words; lists as their entries, tables as their pairs."""
    return "; ".join(f"{key}: {_in_words(value)}" for key, value in details.items())


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return in_sizes(value)
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def in_comparison(latency: Latency, baseline: str) -> str:
    """Says how a latency compares with the baseline's, with its interval, or that it is the baseline's own."""
    least, most = latency.speedup_interval
    if latency.speedup == least == most == 1.0:
        return "the baseline"
    if not latency.is_different:
        return f"no difference to {baseline}"
    return f"{in_words(latency)} than {baseline} ({least:.2f} to {most:.2f})"
