"""What was rewritten in a graph, what nearly was, and what went wrong: as values that a manifest can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    import onnx_ir

_One = TypeVar("_One")


class Hit(msgspec.Struct, frozen=True):
    """A rule that rewrote what ends in a node; `where` is the line of Python, or the submodule, that made it."""

    rule: str
    node: str
    where: str | None = None


class NearMiss(msgspec.Struct, frozen=True):
    """A rule whose pattern ends in a node and that declined nonetheless: why, and the node or value to blame."""

    rule: str
    node: str
    reason: str
    culprit: str | None = None
    where: str | None = None


class Setback(msgspec.Struct, frozen=True):
    """A pass that raised, or broke what the graph promises, and was rolled back; the node where a rule is to blame."""

    step: str
    message: str
    node: str | None = None


class Trace(msgspec.Struct, frozen=True):
    """What passes did to a graph, with its operators before and after, each with how many nodes.

    `steps` says of each pass in how many places it changed the graph; `foreign` are operators that no rule knows.
    """

    hits: tuple[Hit, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    setbacks: tuple[Setback, ...] = ()
    steps: dict[str, int] = {}
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    foreign: tuple[str, ...] = ()

    def and_then(self, later: Trace) -> Trace:
        """Returns both as one; a near miss at a node that another pass has rewritten is none."""
        hits = (*self.hits, *later.hits)
        mended = {hit.node for hit in hits}
        missed = _once((*self.near_misses, *later.near_misses))
        return Trace(
            hits,
            tuple(miss for miss in missed if miss.node not in mended),
            _once((*self.setbacks, *later.setbacks)),
            _summed(self.steps, later.steps),
            self.before or later.before,
            later.after or self.after,
            later.foreign or self.foreign,
        )

    @property
    def counts(self) -> dict[str, int]:
        """How often each rule rewrote something."""
        counts: dict[str, int] = {}
        for hit in self.hits:
            counts[hit.rule] = counts.get(hit.rule, 0) + 1
        return counts


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in [*one, *other]}


def _once(values: Iterable[_One]) -> tuple[_One, ...]:
    return tuple(dict.fromkeys(values))


@dataclass(frozen=True)
class Lowered:
    """A graph in lower precision, and the nodes that stay as they were, each with why."""

    model: onnx_ir.Model
    kept: Mapping[str, str]
