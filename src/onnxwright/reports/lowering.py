"""What was tried to lower a precision: rows, and the frontier of speed against loss as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from onnxwright.artifact import Package
from onnxwright.errors import UsageError
from onnxwright.manifest import Accuracy, Candidate, Quantization
from onnxwright.reports.drawing import check_suffix, save_figure
from onnxwright.reports.rewriting import optimization_rows
from onnxwright.stages.measure import gains_in_words, mean_speedup

_MOST_KEPT: Final = 12
"""So many nodes that stay in float32 are named."""


def quantization_rows(engine: str, record: Quantization) -> Iterator[Sequence[str]]:
    """Yields what was tried for one engine: a kind of row first, the engine second."""
    yield "quantized", engine, record.told
    halves = f"{record.calibrating} calibrate, {record.judging} judge"
    yield "budget", engine, f"{record.budget:.2g}: {record.measure}", f"{record.samples}: {halves}"
    if record.instructions:
        yield "speed", engine, f"measured with {', '.join(record.instructions)}; another processor has another order"
    best = frontier(record)
    for one in sorted(record.candidates, key=speed, reverse=True):
        mark = "frontier" if one in best else ""
        yield "recipe", engine, one.name, _lost(one), in_speed(one), one.outcome, mark, one.message or one.anew
    for one in record.candidates:
        if one.outcome == "kept":
            yield from _kept_rows(engine, one)
    if record.rewriting is not None:
        yield from optimization_rows(engine, record.rewriting, "rewritten")


def frontier(record: Quantization) -> list[Candidate]:
    """Returns the candidates than which none is both faster and better, the fastest first."""
    told = [one for one in record.candidates if one.latencies and loss(one) is not None]
    return sorted((one for one in told if not any(_is_worse(one, other) for other in told)), key=speed, reverse=True)


def speed(one: Candidate) -> float:
    """The geometric mean of the speed-ups over all sizes; 0 where nothing was measured."""
    return mean_speedup(one.latencies) if one.latencies else 0.0


def loss(one: Candidate) -> float | None:
    """What a candidate loses: on the samples that judge it where it came so far, else on the others."""
    found: Accuracy | None = one.judged or one.calibrated
    return None if found is None else found.loss


def in_speed(one: Candidate) -> str:
    """Says how fast a candidate is at each size, beside the graph as exported in the same engine."""
    return gains_in_words(one.latencies)


def draw_frontier(package: Package, file: Path, *, is_forced: bool) -> None:
    """Draws speed against loss of all candidates into a `.svg` or `.png` file; those on the frontier are joined.

    Raises:
        UsageError: for another suffix, a package in which no precision was lowered, or a file that is there already.
        MissingExtraError: when matplotlib is not installed.
    """
    check_suffix(file)
    records = {engine: one for engine, one in package.manifest.quantizations.items() if frontier(one)}
    if not records:
        raise UsageError(
            f"frontier '{file}': nothing was measured in a lower precision for '{package.folder}'. "
            "Make it with `onnxwright quantize`, and leave --no-measure out."
        )
    save_figure(lambda: _plot(records), file, is_forced=is_forced)


def _is_worse(one: Candidate, other: Candidate) -> bool:
    mine, theirs = loss(one) or 0.0, loss(other) or 0.0
    return speed(other) >= speed(one) and theirs <= mine and (speed(other), theirs) != (speed(one), mine)


def _lost(one: Candidate) -> str:
    found = one.judged or one.calibrated
    if found is None:
        return ""
    if found.loss is None:
        return f"loses too much: {found.message}"
    interval = "" if found.interval is None else f" ({found.interval[0]:.2g} to {found.interval[1]:.2g})"
    where = "" if one.judged is not None else " where it was calibrated"
    return f"loses {found.loss:.2g}{interval}{where}"


def _kept_rows(engine: str, one: Candidate) -> Iterator[Sequence[str]]:
    if one.judged is not None:
        yield from (("accuracy", engine, name, f"{part:.4g}") for name, part in one.judged.parts.items())
    if one.neighbours is not None and one.neighbours.loss is not None:
        yield "neighbours", engine, f"{one.neighbours.loss:.2g}", one.neighbours.told
    for node, reason in list(one.kept.items())[:_MOST_KEPT]:
        yield "float32", engine, node, reason
    if len(one.kept) > _MOST_KEPT:
        yield "float32", engine, f"and {len(one.kept) - _MOST_KEPT} more, in onnxwright.json"


def _plot(records: Mapping[str, Quantization]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.2 * len(records) + 0.6), layout="constrained")
    plots = figure.subplots(len(records), squeeze=False)[:, 0]
    for plot, (engine, record) in zip(plots, records.items(), strict=True):
        best = frontier(record)
        plot.plot([_across(one) for one in best], [speed(one) for one in best], color="#2b8a57", linewidth=1)
        for one in record.candidates:
            if one.latencies and loss(one) is not None:
                colour = "#2b8a57" if one in best else "#9aa0a6"
                plot.scatter([_across(one)], [speed(one)], color=colour, s=40 if one.outcome == "kept" else 16)
                plot.annotate(
                    one.name, (_across(one), speed(one)), fontsize=7, xytext=(4, 3), textcoords="offset points"
                )
        plot.axvline(record.budget, color="#c0392b", linewidth=1, linestyle="--")
        plot.axhline(1.0, color="#9aa0a6", linewidth=0.8)
        plot.set_xscale("symlog", linthresh=max(record.budget / 10, 1e-9))
        plot.set_xlabel(f"loss: {record.measure}", fontsize=8)
        plot.set_ylabel("times as fast as exported", fontsize=8)
        plot.set_title(f"{engine}, budget {record.budget:.2g}", fontsize=9)
    return figure


def _across(one: Candidate) -> float:
    return max(0.0, loss(one) or 0.0)
