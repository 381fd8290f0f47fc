"""Branches with one side left out: where that one gives None and the other a tensor, as `mask = None` for full rows.

No operator gives one or the other. A graph with the tensor alone is right where the model answers the same with it,
which the proof has to show on inputs that take the side left out; `Sides` finds out whether any sample does.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from onnxwright.findings import Finding
from onnxwright.pytorch.lines import Line

if TYPE_CHECKING:
    from onnxwright.source import Source


class Question(NamedTuple):
    """Where a function asks which side to take."""

    file: str
    line: int


class Sides:
    """What was answered to the questions of rewritten functions, and which answers a graph has no side for."""

    def __init__(self) -> None:
        self.left_out: dict[Question, bool] = {}
        self.taken: defaultdict[Question, set[bool]] = defaultdict(set)
        self.is_watching = False
        """Whether functions run as Python does, to see which sides they take."""

    def findings(self) -> Iterator[Finding]:
        """Yields what has to be told of the sides left out."""
        for question, answer in self.left_out.items():
            told = f"The graph has one side only of a branch that gives None where it is {str(answer).lower()}"
            where = str(Line(question.file, question.line))
            if answer in self.taken[question]:
                yield Finding("branch-left-out", f"{told}; samples that take the other agree.", where=where)
            else:
                yield Finding("branch-not-taken", f"{told}, and no sample takes that side.", where=where)


_NONE: Final = Sides()
_current: list[Sides] = [_NONE]


@contextlib.contextmanager
def noting_sides() -> Iterator[Sides]:
    """Has what is left out be noted while entered; elsewhere nothing may be."""
    noted = Sides()
    _current.append(noted)
    try:
        yield noted
    finally:
        _current.pop()


def current() -> Sides | None:
    """Returns where sides are noted, if they may be left out."""
    noted = _current[-1]
    return None if noted is _NONE or torch.compiler.is_dynamo_compiling() else noted


def watch(sides: Sides, source: Source) -> None:
    """Runs the module on samples of every regime, and of the least sizes, to see which sides they take."""
    from onnxwright.pytorch.session import taken_by

    assert source.module is not None, "only modules have functions"
    sides.is_watching = True
    try:
        for values in source.sampler.regimes:
            taken_by(source.module, source.sampler, source.traced, values=values)
        for dim, (least, _, _) in source.profile.items():
            taken_by(source.module, source.sampler, {**source.traced, dim: least})
    finally:
        sides.is_watching = False
