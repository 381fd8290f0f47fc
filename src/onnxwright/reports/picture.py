"""Draws what was proven: where on the plane of sizes candidate and reference agreed, and where not."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from onnxwright.artifact import Package
from onnxwright.errors import UsageError
from onnxwright.manifest import Proof
from onnxwright.reports.drawing import check_suffix, save_figure

Sizes = Mapping[str, int]

AGREED: Final = "+"
FAILED: Final = "x"
REFUSED: Final = "-"
UNTRIED: Final = "?"
NOTHING: Final = " "
MEANINGS: Final = {
    AGREED: "agreed",
    FAILED: "failed",
    REFUSED: "refused by the model",
    UNTRIED: "not tried",
    NOTHING: "nothing tried",
}
"""What each symbol says of the sizes in a cell; where several hold, the one that weighs most in `_WEIGHTS` is shown."""

_WEIGHTS: Final = (NOTHING, UNTRIED, AGREED, REFUSED, FAILED)
_COLOURS: Final = {AGREED: "#2b8a57", FAILED: "#c0392b", REFUSED: "#9aa0a6", UNTRIED: "#e0b43b", NOTHING: "#f3f4f5"}
_MOST_DIMS: Final = 3
_MOST_ROWS: Final = 16
_INCHES_A_CELL: Final = 0.32
_FRAME: Final[dict[str, Any]] = {"fill": False, "linewidth": 2}


class Axis(msgspec.Struct, frozen=True):
    """The sizes of one dim in bins: each from its entry of `starts` up to the next one, the last of one size only.

    `proven` are the first and last bin of the proven range, which begins and ends where a bin does.
    """

    dim: str
    starts: tuple[int, ...]
    proven: tuple[int, int] | None

    def bin_of(self, size: int) -> int:
        """Returns which bin a size is in."""
        return max(0, bisect_right(self.starts, size) - 1)


class Grid(msgspec.Struct, frozen=True):
    """One symbol for each pair of bins; with one dim only, there is one row and no axis for it.

    Only sizes whose `others`, all dims without an axis here, lie in their proven range are in it; `elsewhere` counts
    the rest by symbol.
    """

    rows: Axis | None
    columns: Axis
    cells: tuple[tuple[str, ...], ...]
    others: tuple[str, ...] = ()
    elsewhere: dict[str, int] = {}


def grids(proof: Proof, width: int = 80) -> tuple[Grid, ...]:
    """Returns a grid for each pair of the dims that vary, at most three; none where no dim does.

    Each fits into `width` characters when it is written as text.
    """
    marked = list(_marked(proof))
    found = {dim: {sizes[dim] for sizes, _ in marked} for dim in (marked[0][0] if marked else ())}
    varying = sorted((dim for dim, seen in found.items() if len(seen) > 1), key=lambda dim: -len(found[dim]))
    dims = [dim for dim in found if dim in varying[:_MOST_DIMS]]
    if len(dims) == 1:
        return (_grid(proof, marked, None, _fitting(proof, dims[0], found[dims[0]], width)),)
    return tuple(
        _grid(proof, marked, _short(proof, row, found[row]), _fitting(proof, column, found[column], width, found[row]))
        for row, column in itertools.combinations(dims, 2)
    )


def lines(proof: Proof, width: int = 80) -> Iterator[str]:
    """Yields the grids of a proof as text, the proven range in a frame, and what the symbols mean."""
    shown = grids(proof, width)
    for grid in shown:
        yield from _written(grid)
    if shown:
        symbols = {symbol for grid in shown for row in grid.cells for symbol in row}
        yield ", ".join(f"{symbol} {told}" for symbol, told in MEANINGS.items() if symbol in symbols - {NOTHING})
        yield "in the frame: proven; blank: nothing tried"
        yield "each number stands for the sizes from it up to the next"


def draw(package: Package, file: Path, *, is_forced: bool) -> None:
    """Draws the grids of a package's proof into an `.svg` or `.png` file; the same proof gives the same file.

    Raises:
        UsageError: for another suffix, or when no dim varies.
        OutputError: when the file exists (unless `is_forced`), or its folder doesn't.
        MissingExtraError: when matplotlib is not installed.
    """
    check_suffix(file)
    shown = grids(package.proof)
    if not shown:
        raise UsageError(f"picture '{file}': there is nothing to draw, since no dim of this proof varies.")
    proof = package.proof
    title = f"{package.folder.resolve().name}: {proof.verdict}\n{proof.candidate} against {proof.reference}"
    save_figure(lambda: _plot(shown, title), file, is_forced=is_forced)


def _marked(proof: Proof) -> Iterator[tuple[Sizes, str]]:
    yield from ((sizes, AGREED) for sizes in proof.sizes)
    yield from ((failure.sizes, FAILED) for failure in proof.failures)
    yield from ((sizes, REFUSED) for sizes in proof.refused)
    yield from ((sizes, UNTRIED) for sizes in proof.untried)


def _short(proof: Proof, dim: str, found: set[int]) -> Axis:
    return next(axis for axis in _axes(proof, dim, found) if len(axis.starts) <= _MOST_ROWS)


def _fitting(proof: Proof, dim: str, found: set[int], width: int, rows: Iterable[int] = ()) -> Axis:
    margin = max((len(str(size)) for size in rows), default=0) + 2
    return next(axis for axis in _axes(proof, dim, found) if margin + _width(axis) <= width)


def _width(axis: Axis) -> int:
    return sum(len(str(start)) + 1 for start in axis.starts)


def _axes(proof: Proof, dim: str, found: set[int]) -> Iterator[Axis]:
    """Yields ever coarser bins of one dim, with one at each of its ends and where the proven range begins and ends."""
    least, most = min(found), max(found)
    ends = proof.range.get(dim)
    edges = {least, most, *((ends[0], ends[1] + 1) if ends else ())} & set(range(least, most + 1))
    for starts in _ladder(least, most):
        axis = Axis(dim, tuple(sorted(edges | starts)), None)
        yield axis if ends is None else Axis(dim, axis.starts, (axis.bin_of(ends[0]), axis.bin_of(ends[1])))


def _ladder(least: int, most: int) -> Iterator[set[int]]:
    """Yields sets of sizes between two: every size, then as many in each doubling, fewer and fewer."""
    if most - least <= 80:
        yield set(range(least, most + 1))
    doublings = range(math.ceil(math.log2(most + 1)) + 1)
    for parts in (4, 2, 1):
        steps = {2**power * (parts + part) // parts for power in doublings for part in range(parts)}
        yield {size for size in steps if least <= size <= most}
    for stride in (2, 4, 8, len(doublings)):
        yield {2**power for power in doublings[::stride] if least <= 2**power <= most}
    yield set()


def _grid(proof: Proof, marked: Sequence[tuple[Sizes, str]], rows: Axis | None, columns: Axis) -> Grid:
    shown = {columns.dim, *([rows.dim] if rows else [])}
    others = tuple(dim for dim in marked[0][0] if dim not in shown)
    cells = [[NOTHING] * len(columns.starts) for _ in (rows.starts if rows else (0,))]
    elsewhere: dict[str, int] = {}
    for sizes, symbol in marked:
        if any(not _is_proven(proof, dim, sizes[dim]) for dim in others):
            elsewhere[symbol] = elsewhere.get(symbol, 0) + 1
            continue
        row, column = rows.bin_of(sizes[rows.dim]) if rows else 0, columns.bin_of(sizes[columns.dim])
        cells[row][column] = max(cells[row][column], symbol, key=_WEIGHTS.index)
    return Grid(rows, columns, tuple(map(tuple, cells)), others, elsewhere)


def _is_proven(proof: Proof, dim: str, size: int) -> bool:
    """Whether a size lies in the proven range of its dim; any does where there is no such range."""
    return dim not in proof.range or proof.range[dim][0] <= size <= proof.range[dim][1]


def _written(grid: Grid) -> Iterator[str]:
    columns, labels = grid.columns, [""] if grid.rows is None else [str(start) for start in grid.rows.starts]
    margin = max(map(len, labels))
    framed = _framed(grid)
    yield _caption(grid)
    yield f"{'':{margin}} {''.join(f' {start}' for start in columns.starts)}"
    for number, (label, row) in enumerate(zip(labels, grid.cells, strict=True)):
        is_inside = framed is not None and framed[0] <= number <= framed[1]
        if framed is not None and number == framed[0]:
            yield f"{'':{margin}} {_rule(columns)}"
        yield f"{label:>{margin}} {_row(columns, row, is_inside=is_inside)}".rstrip()
        if framed is not None and number == framed[1]:
            yield f"{'':{margin}} {_rule(columns)}"
    yield from _elsewhere(grid)


def _framed(grid: Grid) -> tuple[int, int] | None:
    if grid.columns.proven is None:
        return None
    return (0, 0) if grid.rows is None else grid.rows.proven


def _caption(grid: Grid) -> str:
    told = (
        f"{_span(grid.columns)} across"
        if grid.rows is None
        else f"{_span(grid.rows)} down, {_span(grid.columns)} across"
    )
    return told + (f"; {', '.join(grid.others)} as proven" if grid.others else "")


def _elsewhere(grid: Grid) -> Iterator[str]:
    if grid.elsewhere:
        counts = ", ".join(f"{count} {MEANINGS[symbol]}" for symbol, count in grid.elsewhere.items())
        yield f"elsewhere, with another {' or '.join(grid.others)}: {counts}"


def _span(axis: Axis) -> str:
    return f"{axis.dim} {axis.starts[0]} to {axis.starts[-1]}"


def _row(columns: Axis, symbols: Sequence[str], *, is_inside: bool) -> str:
    """Writes a symbol below the last digit of each bin's number, with the frame's sides around the proven ones."""
    sides = (columns.proven[0], columns.proven[1] + 1) if is_inside and columns.proven else ()
    cells = [
        f"{'|' if number in sides else ' '}{symbol:>{len(str(start))}}"
        for number, (start, symbol) in enumerate(zip(columns.starts, symbols, strict=True))
    ]
    return "".join(cells) + ("|" if len(columns.starts) in sides else "")


def _rule(columns: Axis) -> str:
    assert columns.proven is not None
    first, last = columns.proven
    widths = [len(str(start)) + 1 for start in columns.starts]
    return " " * sum(widths[:first]) + f"|{'=' * (sum(widths[first : last + 1]) - 1)}|"


def _plot(shown: Sequence[Grid], title: str) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    heights = [len(grid.cells) * _INCHES_A_CELL + 1.0 for grid in shown]
    width = max(len(grid.columns.starts) for grid in shown) * _INCHES_A_CELL + 1.4
    figure = Figure(figsize=(max(width, 4.5), sum(heights) + 1.0), layout="constrained")
    figure.suptitle(title, fontsize=9)
    plots = figure.subplots(len(shown), squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for plot, grid in zip(plots, shown, strict=True):
        _plot_grid(plot, grid)
    used = {symbol for grid in shown for row in grid.cells for symbol in row}
    patches = [
        Patch(facecolor=_COLOURS[symbol], label=f"{symbol} {told}".strip())
        for symbol, told in MEANINGS.items()
        if symbol in used
    ]
    patches += [Patch(**_FRAME, label="proven")] * any(_framed(grid) is not None for grid in shown)
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return figure


def _plot_grid(plot: Any, grid: Grid) -> None:
    from matplotlib.patches import Rectangle

    for row, symbols in enumerate(grid.cells):
        for column, symbol in enumerate(symbols):
            plot.add_patch(Rectangle((column, row), 1, 1, facecolor=_COLOURS[symbol], edgecolor="white"))
            plot.text(column + 0.5, row + 0.5, symbol, ha="center", va="center", fontsize=7)
    framed = _framed(grid)
    if framed is not None and grid.columns.proven is not None:
        first, last = grid.columns.proven
        plot.add_patch(
            Rectangle((first, framed[0]), last + 1 - first, framed[1] + 1 - framed[0], **_FRAME, clip_on=False)
        )
    plot.set_xlim(0, len(grid.columns.starts))
    plot.set_ylim(len(grid.cells), 0)
    plot.set_xticks([number + 0.5 for number in range(len(grid.columns.starts))], grid.columns.starts, fontsize=7)
    rows = grid.rows.starts if grid.rows else ()
    plot.set_yticks([number + 0.5 for number in range(len(rows))], rows, fontsize=7)
    plot.set_xlabel(grid.columns.dim, fontsize=8)
    plot.set_ylabel(grid.rows.dim if grid.rows else "", fontsize=8)
    plot.set_title("\n".join([_caption(grid), *_elsewhere(grid)]), fontsize=8)
    plot.tick_params(length=0)
    plot.spines[:].set_visible(False)
