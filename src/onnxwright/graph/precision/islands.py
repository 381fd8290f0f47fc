"""Islands that are grown until a caller's judgement holds: where nothing foreseen explains why an answer differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from onnxwright.graph.passes import named
from onnxwright.graph.provenance import provenance_of
from onnxwright.rewrites import Lowered

GUILTY: Final = "kept: without it the answer differs"
UNREFINED: Final = "kept: among these is one without which the answer differs; there were no trials left to tell which"
Lower = Callable[[Mapping[str, str]], Lowered]
"""Lowers a graph but for nodes that stay as they are, by name with the reason: `lowered` with the rest given."""
Judge = Callable[[ir.Model], bool]
"""Whether a graph answers right: a proof, or a loss within its budget."""


@dataclass(frozen=True)
class Grown:
    """A graph with islands, whether it was judged right, and how many graphs were judged for that."""

    lowered: Lowered
    is_right: bool
    trials: int


def grown(lower: Lower, is_right: Judge, *, suspects: Sequence[str] = (), most_trials: int = 48) -> Grown:
    """Keeps the fewest nodes in float32 with which the lowered graph is judged right.

    First parts are tried, by the module that nodes come from, then the nodes of the guilty ones; `suspects` are names
    of nodes that are tried before all others. Of the parts in order the first so many are kept, and how many are
    needed is found by bisection: the last of these is guilty and stays kept, and the search goes on for another one.
    What is returned was judged as it is; a judgement that doesn't get better with more in float32 may make it keep more
    than is needed. When the trials are used up, the least that was judged right stays kept. Where even a graph that is
    all float32 is judged wrong, `is_right` is false.
    """
    search = _Search(lower, is_right, most_trials)
    first = lower({})
    if search.holds(()):
        return search.result(is_right=True)
    nodes = _lowered_nodes(first)
    parts = _parts(nodes)
    start = _suspected(search, suspects, nodes) or parts
    if not search.holds([name for part in start for name in part]):
        return search.result(is_right=False)
    guilty = search.narrow(start)
    search.narrow([(name,) for part in guilty for name in part])
    return search.result(is_right=True)


class _Search:
    """Judges graphs in which some nodes are kept, as long as there are trials, and remembers the last right one."""

    def __init__(self, lower: Lower, is_right: Judge, most_trials: int) -> None:
        self._lower, self._is_right, self._left, self._most = lower, is_right, most_trials, most_trials
        self._known: dict[frozenset[str], bool] = {}
        self._best: frozenset[str] | None = None

    def holds(self, names: Sequence[str]) -> bool:
        """Whether the graph is right with these nodes in float32; without trials left it isn't known, and not so."""
        kept = frozenset(names)
        if kept not in self._known:
            if not self._left:
                return False
            self._left -= 1
            self._known[kept] = self._is_right(self._lower(dict.fromkeys(kept, GUILTY)).model)
        if self._known[kept] and (self._best is None or len(kept) < len(self._best)):
            self._best = kept
        return self._known[kept]

    def narrow(self, parts: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        """Returns the parts without which it isn't right, where it is right with all of them."""
        guilty: list[Sequence[str]] = []
        rest = list(parts)
        while rest and not self.holds(_flat(guilty)) and self._left:
            count = self._least_count(rest, guilty)
            guilty.append(rest[count - 1])
            rest = rest[: count - 1]
        return guilty if self.holds(_flat(guilty)) else list(parts)

    def _least_count(self, rest: Sequence[Sequence[str]], guilty: Sequence[Sequence[str]]) -> int:
        """How many of the first parts have to be kept, beside the guilty ones."""
        low, high = 1, len(rest)
        while low < high:
            middle = (low + high) // 2
            if self.holds(_flat([*rest[:middle], *guilty])):
                high = middle
            else:
                low = middle + 1
        return high

    def result(self, *, is_right: bool) -> Grown:
        kept = self._best if is_right and self._best is not None else frozenset[str]()
        reason = GUILTY if self._left or len(kept) <= 1 else UNREFINED
        return Grown(self._lower(dict.fromkeys(sorted(kept), reason)), is_right, self._most - self._left)


def _flat(parts: Sequence[Sequence[str]]) -> list[str]:
    return [name for part in parts for name in part]


def _lowered_nodes(first: Lowered) -> list[ir.Node]:
    """The nodes that compute in the lower type, in order."""
    low = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    return [
        node
        for node in first.model.graph
        if node.op_type != "Cast"
        and named(node) not in first.kept
        and any(value.dtype in low for value in node.outputs)
    ]


def _parts(nodes: Sequence[ir.Node]) -> list[Sequence[str]]:
    """The names of nodes by the module that they come from, in the order of the first ones."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        found.setdefault(provenance_of(node).module or "", []).append(named(node))
    return list(found.values()) if len(found) > 1 else [[name] for names in found.values() for name in names]


def _suspected(search: _Search, suspects: Sequence[str], nodes: Sequence[ir.Node]) -> list[Sequence[str]]:
    """The suspects one by one, where keeping them is enough."""
    known = {named(node) for node in nodes}
    there = [name for name in suspects if name in known]
    return [[name] for name in there] if there and search.holds(there) else []
