"""Passes over a graph, each on a copy and behind a guard: one that breaks something is taken back, alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxwright.graph.guarding import complaint
from onnxwright.graph.provenance import carry_provenance, provenance_of
from onnxwright.rewrites import Hit, NearMiss, Setback, Trace


@dataclass
class Log:
    """What a pass tells of its rewrites while it runs."""

    hits: list[Hit] = field(default_factory=list)
    near_misses: list[NearMiss] = field(default_factory=list)

    def hit(self, rule: str, node: ir.Node) -> None:
        """Notes that a rule rewrites what ends in a node."""
        self.hits.append(Hit(rule, named(node), _place(node)))

    def miss(self, rule: str, node: ir.Node, reason: str, culprit: ir.Node | ir.Value | None = None) -> None:
        """Notes that a rule declines what ends in a node."""
        blamed = None if culprit is None else named(culprit)
        self.near_misses.append(NearMiss(rule, named(node), reason, blamed, _place(node)))


class RuleError(Exception):
    """A rule that raised, with its name and the node at which it did."""

    def __init__(self, rule: str, node: ir.Node, problem: Exception):
        super().__init__(f"rule '{rule}': {type(problem).__name__}: {problem}")
        self.node = named(node)


@dataclass(frozen=True)
class Pass:
    """One thing that is done to a graph, in place; `run` returns in how many places, 0 where it changes nothing."""

    name: str
    summary: str
    run: Callable[[ir.Model, Log], int]


def counting(name: str, summary: str, change: Callable[[ir.Model], int]) -> Pass:
    """Returns a pass of a function that has nothing to tell but how many places it changed."""
    return Pass(name, summary, lambda model, _: change(model))


def guarded(model: ir.Model, passes: Iterable[Pass]) -> tuple[ir.Model, Trace]:
    """Runs passes one after the other, each on a copy that shares the weights, and keeps those that break nothing.

    The model that is given stays as it is. A pass that raises, or after which `guarding.complaint` has something to
    say, is a setback of the trace; the passes after it run on the graph before it.
    """
    counts = operators(model)
    trace = Trace(before=counts, after=counts)
    for one in passes:
        model, step = _guarded(model, one)
        trace = trace.and_then(step)
    return model, trace


def operators(model: ir.Model) -> dict[str, int]:
    """Counts the nodes of each operator, those inside of others included."""
    counts = Counter(f"{node.domain}::{node.op_type}".removeprefix("::") for node in model.graph.all_nodes())
    return dict(sorted(counts.items()))


def named(what: ir.Node | ir.Value) -> str:
    """Returns the name of a node or a value, or what it gives where it has none."""
    if isinstance(what, ir.Node):
        return what.name or next((value.name for value in what.outputs if value.name), "") or what.op_type
    return what.name or "?"


def _guarded(model: ir.Model, one: Pass) -> tuple[ir.Model, Trace]:
    log, copy = Log(), model.clone()
    try:
        count = one.run(copy, log)
        broken, node = (complaint(model, copy) if count else ""), None
    except RuleError as problem:
        count, broken, node = 0, str(problem), problem.node
    except Exception as problem:  # noqa: BLE001 - passes of other libraries raise anything; it is told by the pass's name
        count, broken, node = 0, f"{type(problem).__name__}: {problem}", None
    if broken:
        counts = operators(model)
        return model, Trace(setbacks=(Setback(one.name, broken, node),), after=counts)
    if count:
        carry_provenance(model, copy)
        model = copy
    steps = {one.name: count} if count else {}
    return model, Trace(tuple(log.hits), tuple(log.near_misses), steps=steps, after=operators(model))


def _place(node: ir.Node) -> str | None:
    module, where = provenance_of(node)
    return where or module
