"""One candidate for a lower precision on its way, and what is said of it and of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from onnxwright.manifest import Accuracy, Came, Candidate, Latency, Neighbours
from onnxwright.recipes import Recipe
from onnxwright.rewrites import Lowered
from onnxwright.stages import measure as measuring

_ALIKE: Final = 0.03
"""Speeds that differ by less are taken to be the same: one measurement to the next differs by as much."""

_NEAR: Final = 0.1
"""By so much may speeds differ that were measured at different times."""


@dataclass(frozen=True)
class Tried:
    """What a recipe makes for an engine, and what is known of it so far."""

    recipe: Recipe
    execution: str
    came: Came = "not the fastest"
    message: str = ""
    lowered: Lowered | None = None
    size: int = 0
    calibrated: Accuracy | None = None
    errors: Mapping[str, float] = field(default_factory=dict)
    """Of each output on the samples that it is made with."""
    judged: Accuracy | None = None
    neighbours: Neighbours | None = None
    latencies: tuple[Latency, ...] = ()
    anew: str = ""
    """How it was made anew, where the first one was wrong."""
    is_futile: bool = False
    """Whether nothing of the graph could be lowered, so that it would be what it was."""

    @property
    def name(self) -> str:
        """The recipe, and the type of execution where that is another."""
        return Candidate(self.recipe.name, self.execution, self.came).name

    @property
    def is_within(self) -> bool:
        """Whether it was made, and nothing is to be said against it."""
        return self.lowered is not None and not self.message

    @property
    def lost(self) -> float:
        """What it loses on the samples that it is made with."""
        assert self.calibrated is not None, "it was loaded"
        return self.calibrated.amount

    @property
    def gain(self) -> float:
        """The geometric mean of the speed-ups over all sizes."""
        return measuring.mean_speedup(self.latencies)

    @property
    def record(self) -> Candidate:
        """What the manifest holds of it."""
        kept = dict(self.lowered.kept) if self.lowered is not None else {}
        return Candidate(
            self.recipe.name,
            self.execution,
            self.came,
            self.message,
            kept,
            self.calibrated,
            self.judged,
            self.neighbours,
            self.latencies,
            self.size,
            self.anew,
        )

    @property
    def told(self) -> str:
        """What it came to when it was made."""
        if self.message:
            return f"{self.came}: {self.message}"
        lost = f"loses {self.calibrated.amount:.2g}" if self.calibrated is not None else "loses nothing"
        kept = len(self.lowered.kept) if self.lowered is not None else 0
        return f"{lost} on the samples that it is made with" + (f", {kept} nodes in float32" if kept else "")

    @property
    def in_short(self) -> str:
        """What came of it at last, in a few words."""
        if self.came == "over budget" and self.calibrated is not None:
            lost = (self.judged or self.calibrated).amount
            by_others = 0.0 if self.neighbours is None or self.neighbours.loss is None else self.neighbours.loss
            told = f"loses {by_others:.2g} by the other rows of a batch" if by_others > lost else f"loses {lost:.2g}"
            return f"{told} and is {self.gain:.2f}× as fast as exported" if self.latencies else told
        if self.message:
            return f"is {self.came}"
        return f"is {self.gain:.2f}× as fast as exported" if self.latencies else "was not measured"

    def concluded(self, kept: Tried | None, *, is_measured: bool) -> Candidate:
        """What the manifest holds of it once it is known which candidate is kept."""
        if self is kept:
            return replace(self, came="kept").record
        if self.message or self.came in {"slower", "no faster"}:
            return self.record
        if not is_measured:
            return replace(self, came="not measured").record
        is_as_fast = kept is not None and self.gain >= kept.gain
        return replace(self, came="loses more" if is_as_fast else "not the fastest").record


def foremost(ready: Sequence[Tried]) -> Tried:
    """Returns the fastest, or of those that are as fast the one that loses least; the first, if none was measured."""
    most = max(one.gain for one in ready)
    alike = [one for one in ready if one.latencies and one.gain > (1 - _ALIKE) * most]
    return min(alike, key=lambda one: one.lost, default=ready[0])


def nearly_foremost(ready: Sequence[Tried]) -> list[Tried]:
    """Returns those that may be the fastest once they are measured side by side, the fastest so far first."""
    ordered = sorted(ready, key=lambda one: one.gain, reverse=True)
    return [one for one in ordered if one.gain > (1 - _NEAR) * ordered[0].gain]


def lost_of(found: Accuracy, budget: float) -> str:
    """Says that more is lost than may be."""
    return f"it loses {found.amount:.2g}, where {budget:.2g} may be lost,"


def told_of(tried: Sequence[Tried], kept: Tried | None, budget: float) -> str:
    """Says in two sentences which candidate is kept and why, and what came of the others."""
    if kept is None:
        reasons = "; ".join(f"{one.name} {one.in_short}" for one in tried) or "no recipe is for this engine"
        return f"the graph as exported stays: {reasons}."
    assert kept.judged is not None, "what is kept was judged"
    lost = f"loses {kept.judged.amount:.2g} of the {budget:.2g} that may be lost ({kept.judged.told})"
    speed = f"and is {measuring.gains_in_words(kept.latencies)}" if kept.latencies else "and nothing was measured"
    first = f"'{kept.name}' is kept: it {lost}, {speed}."
    others = "; ".join(f"{one.name} {one.in_short}" for one in tried if one is not kept)
    return f"{first} Of the others: {others}." if others else first


def unmet(word: str, budget: float, rows: Sequence[tuple[str, Candidate]]) -> str:
    """Says that a precision that was asked for can't be had, by engine and candidate why, and what to do."""
    lines = [f"  {engine}: {row.name}: {row.outcome}: {row.message}{_speed_of(row)}" for engine, row in rows]
    is_judged = any(row.outcome not in {"refused", "not measured"} for _, row in rows)
    told = (
        f"nothing of it stays within a loss of {budget:.2g}. Allow for more with --max-accuracy-loss, "
        "give samples of your own, or use --precision auto."
        if is_judged
        else "nothing of it could be made. Use another one, or --precision auto."
    )
    return "\n".join([f"precision '{word}': {told}", *lines])


def _speed_of(row: Candidate) -> str:
    return f" It is {measuring.mean_speedup(row.latencies):.2f}× as fast as exported." if row.latencies else ""
