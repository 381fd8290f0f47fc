"""Passes over a graph, each on a copy and behind a guard: one that breaks something is taken back, alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import onnx_ir as ir

from onnxwright.graph.guarding import complaint, refuse_gaps
from onnxwright.graph.provenance import carry_provenance, provenance_of
from onnxwright.graph.targets import CONTRIB
from onnxwright.rewrites import Hit, NearMiss, Setback, Trace

_KNOWN_DOMAINS: Final = {CONTRIB, "ai.onnx.ml"}


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


def guarded(model: ir.Model, passes: Sequence[Pass], *, rounds: int = 1) -> tuple[ir.Model, Trace]:
    """Runs passes one after the other, on copies that share the weights, and keeps those that break nothing.

    The model that is given stays as it is. A pass that raises, or after which `guarding.complaint` has something to
    say, is a setback of the trace; the passes after it run on the graph before it. Further rounds end as soon as no
    pass has anything left to change.

    Raises:
        SourceError: when the graph uses a value that nothing gives.
    """
    refuse_gaps(model)
    bare, defaults = _without_defaults(model)
    bench, idle = _Bench(bare), 0
    for one in itertools.chain.from_iterable(itertools.repeat(passes, rounds)):
        idle = 0 if bench.run(one) else idle + 1
        if idle == len(passes):
            break
    _give_defaults(bench.model, defaults)
    after = operators(bench.model)
    foreign = tuple(name for name in after if "::" in name and name.partition("::")[0] not in _KNOWN_DOMAINS)
    return bench.model, msgspec.structs.replace(bench.trace, before=operators(model), after=after, foreign=foreign)


def operators(model: ir.Model) -> dict[str, int]:
    """Counts the nodes of each operator, those inside of others included."""
    counts = Counter(f"{node.domain}::{node.op_type}".removeprefix("::") for node in model.graph.all_nodes())
    return dict(sorted(counts.items()))


def named(what: ir.Node | ir.Value) -> str:
    """Returns the name of a node or a value, or what it gives where it has none."""
    if isinstance(what, ir.Node):
        return what.name or next((value.name for value in what.outputs if value.name), "") or what.op_type
    return what.name or "?"


def cloned(model: ir.Model) -> ir.Model:
    """Returns a copy that shares tensors and nothing else; `clone` alone shares types of values, which can change."""
    copy = model.clone()
    for graph in copy.graphs():
        for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
            if isinstance(value.type, ir.TensorType):
                value.type = ir.TensorType(value.type.dtype)
    return copy


class _Bench:
    """A graph as the passes so far have left it, and the copy on which the next one runs."""

    def __init__(self, model: ir.Model) -> None:
        self.model, self.trace = model, Trace()
        self._copy: ir.Model | None = None

    def run(self, one: Pass) -> bool:
        """Runs a pass, keeps what it made or takes it back, and says whether the graph is another one."""
        log, copy = Log(), self._copy or cloned(self.model)
        self._copy = None
        count, setback = _attempt(one, self.model, copy, log)
        if setback is not None:
            self.trace = self.trace.and_then(Trace(setbacks=(setback,)))
            return False
        if count:
            carry_provenance(self.model, copy)
            self.model = copy
        else:
            self._copy = copy  # what it changed without a word is held against the same graph after the next pass
        steps = {one.name: count} if count else {}
        self.trace = self.trace.and_then(Trace(tuple(log.hits), tuple(log.near_misses), steps=steps))
        return bool(count)


def _without_defaults(model: ir.Model) -> tuple[ir.Model, dict[str, ir.TensorProtocol]]:
    """A copy in which initializers that callers may replace are inputs only, and their numbers."""
    held = {str(value.name): value.const_value for value in model.graph.inputs if value.is_initializer()}
    defaults = {name: tensor for name, tensor in held.items() if tensor is not None}
    copy = cloned(model) if defaults else model
    for value in copy.graph.inputs:
        if value.name in defaults:
            del copy.graph.initializers[value.name]
            value.const_value = None
    return copy, defaults


def _give_defaults(model: ir.Model, defaults: Mapping[str, ir.TensorProtocol]) -> None:
    for value in model.graph.inputs:
        if value.name in defaults:
            value.const_value = defaults[str(value.name)]
            model.graph.register_initializer(value)


def _attempt(one: Pass, model: ir.Model, copy: ir.Model, log: Log) -> tuple[int, Setback | None]:
    """Runs a pass on a copy; returns in how many places it changed it, and what came in between."""
    try:
        count = one.run(copy, log)
        broken = complaint(model, copy) if count else ""
    except RuleError as problem:
        return 0, Setback(one.name, str(problem), problem.node)
    except Exception as problem:  # noqa: BLE001 - passes of other libraries raise anything; it is told by the pass's name
        return 0, Setback(one.name, f"{type(problem).__name__}: {problem}")
    return count, Setback(one.name, broken) if broken else None


def _place(node: ir.Node) -> str | None:
    module, where = provenance_of(node)
    return where or module
