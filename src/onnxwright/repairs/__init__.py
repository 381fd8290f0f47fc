"""What mends an export that fails or is wrong: one repair a file, each offering `REPAIR`.

A repair answers what an attempt has shown, never the name of an architecture. It wraps an export: it may change the
source that goes in (a copy of it), what PyTorch does meanwhile, or the graph that comes out.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from onnxwright.approach import Approach, Fix
from onnxwright.discovery import offered
from onnxwright.errors import RepairError, UsageError, accepted
from onnxwright.findings import Finding
from onnxwright.manifest import Proof
from onnxwright.routes import Exported
from onnxwright.source import Source

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.watching.conditions import Asked

DECIDED: Final = {
    *("shape-branch-frozen", "value-branch-frozen", "loop-unrolled", "constant-from-sample"),
    *("scalar-from-tensor", "size-read-in-python", "dynamic-axis-lost", "batch-frozen"),
}
"""Findings that tell of what Python has decided, at their place."""

SEPARATOR: Final = ", "
"""Between the things to which one repair is applied at once."""

Exporter = Callable[[Source], Exported]


@dataclass(frozen=True)
class Seen:
    """An attempt that did not show everything: how it was made, and what came of it."""

    source: Source
    approach: Approach
    message: str
    """Why there is no graph, where there is none; else what was told of it."""
    findings: tuple[Finding, ...] = ()
    proof: Proof | None = None
    asked: Asked | None = None
    earlier: tuple[Finding, ...] = ()
    """What attempts before it have found."""
    others: tuple[Proof, ...] = ()
    """What was shown in other engines than the one with the most."""
    refusals: tuple[str, ...] = ()
    """Why engines don't load the graph."""

    def applied(self, repair: str) -> list[str]:
        """Returns the things to which a repair of that name was applied in the attempt."""
        return [one for fix in self.approach.fixes if fix.repair == repair for one in fix.argument.split(SEPARATOR)]


class Repair(Protocol):
    """One way to mend."""

    name: str
    summary: str
    """What it does, in one sentence that begins with a verb."""
    rank: float
    """How late an attempt with it is worth trying, beside others: what it costs, and how seldom it helps."""

    rank_beside: float | None = None
    """The same, where a repair before it decides already, and what that left open has told this one its question."""

    depth: int
    """Repairs of greater depth wrap those of smaller."""

    route: str | None = None
    """The only route on which it works."""
    decides: bool = False
    """Whether a graph made with it decides what Python decides by sizes."""
    decides_by_pieces: bool = False
    """Whether it does so by a graph for each piece of the sizes."""
    is_of_graphs: bool = False
    """Whether it mends a graph, wherever that comes from: it suits an engine that refuses one, too."""

    def proposals(self, seen: Seen) -> Iterable[str]:
        """Yields what it could be applied to after an attempt, the most promising first, if it can help."""

    def details(self) -> Iterable[str]:
        """Returns further paragraphs for its page; none, unless a repair has some."""
        return ()

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export with the repair in it.

        Raises:
            UsageError: when the argument is none that it understands.
        """


class GraphRepair(Repair):
    """A way to mend a graph that an engine refuses or gets wrong, or that isn't valid."""

    depth = 0
    is_of_graphs = True

    def mend(self, model: onnx_ir.Model, argument: str) -> int:
        """Mends a graph in place, and returns in how many places."""
        raise NotImplementedError

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export with its graph mended."""

        def mending(source: Source) -> Exported:
            exported = export(source)
            if not self.mend(exported.model, argument):
                raise RepairError(f"there is nothing for repair '{self.name}' to mend in the graph.")
            return exported

        return mending


def repairs() -> dict[str, Repair]:
    """Returns every repair by name."""
    return cast(dict[str, Repair], offered(__name__, "REPAIR"))


def page() -> str:
    """Returns the documentation page of all repairs, in Markdown."""
    rows = (f"| [`{name}`](#{name}) | {one.summary} |" for name, one in repairs().items())
    return "\n".join([_HEAD, *rows, "", "\n".join(map(section, repairs()))])


def section(name: str) -> str:
    """Returns what the page says of one repair."""
    one = repair(name)
    told = [f"## {name}", inspect.getdoc(sys.modules[type(one).__module__]) or "", *one.details()]
    return "\n\n".join(told) + "\n"


_HEAD = """# Repairs

Where an export fails or is wrong, `onnxwright convert` tries again with what answers it, and holds each graph against
PyTorch by the same proof. A package's journal says which attempts were made and what came of each; `--replay` makes one
of them alone, as `--replay "trace@18; piecewise=sequence > 8"`. Nothing is changed in your module or your files.

This page is written by `make docs` from `src/onnxwright/repairs/`.

| repair | what it does |
|---|---|"""


def mended(export: Exporter, fixes: Sequence[Fix]) -> Exporter:
    """Wraps an export into repairs, each as deep as it has to be: what changes a graph innermost, pieces outermost.

    Raises:
        UsageError: for a repair that is unknown.
    """
    for fix in sorted(fixes, key=lambda fix: repair(fix.repair).depth):
        export = repair(fix.repair).around(export, fix.argument)
    return export


def rank_of(fixes: Iterable[Fix]) -> float:
    """Returns how late an attempt with some repairs, in this order, is worth trying.

    One that decides beside another that did so before it counts as what it is worth there.
    """
    rank, is_decided = 0.0, False
    for one in (repair(fix.repair) for fix in fixes):
        beside = one.rank_beside if is_decided else None
        rank += one.rank if beside is None else beside
        is_decided |= one.decides
    return rank


def repair(name: str) -> Repair:
    """Returns the repair of that name.

    Raises:
        UsageError: when there is none.
    """
    known = repairs()
    if name not in known:
        raise UsageError(f"repair '{name}' is unknown; expected {accepted(name, known)}.")
    return known[name]
