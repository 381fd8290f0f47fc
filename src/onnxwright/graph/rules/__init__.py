"""Rewrites of graphs, one rule or small family a file, each offering `RULE`.

A rule is a pattern of `onnxscript.rewriter` with a `check` that says why it declines, or a function on the whole graph
where a pattern can't say what it looks for. It says which operators it makes, and is left out for an engine that has
none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxwright.discovery import offered
from onnxwright.errors import UsageError, accepted
from onnxwright.graph.passes import Log, Pass, RuleError, named
from onnxwright.graph.targets import Operator, Target

Group = Literal["simplify", "fusion", "merge"]
_IN_USE: Final = "other uses"
"""How the matcher says that something else takes what lies inside of a pattern."""


@dataclass(frozen=True)
class Rule:
    """A named rewrite.

    `makes` are the operators that it can write, the best first; none where it writes none that any engine lacks.
    `patterns` gives `RewriteRule`s that write one of them, or `change` rewrites a graph on its own and returns in how
    many places. Where `needs_proof`, it is right only under a condition that the graph doesn't show. What
    `is_quiet` matches so often in vain that its near misses tell nothing.
    """

    name: str
    group: Group
    summary: str
    patterns: Callable[[Operator | None], Sequence[Any]] | None = None
    change: Callable[[ir.Model, Log], int] | None = None
    makes: tuple[Operator, ...] = ()
    needs_proof: bool = False
    is_quiet: bool = False

    @property
    def can_spare(self) -> bool:
        """Whether it can be told to leave the graph alone at a node, and still rewrite the rest."""
        return self.patterns is not None

    def for_target(
        self, target: Target, imports: Mapping[str, int], *, spared: Collection[str] = frozenset()
    ) -> Pass | None:
        """Returns the rule as a pass that writes what an engine takes; None where that has nothing that it writes.

        It leaves alone what ends in the nodes that are `spared`, by name.
        """
        made = next((one for one in self.makes if target.takes(one, imports)), None)
        if self.makes and made is None:
            return None
        if self.change is not None:
            return Pass(self.name, self.summary, self.change)
        assert self.patterns is not None, "a rule has patterns or a change"
        return Pass(self.name, self.summary, self._rewriting(self.patterns(made), spared))

    def _rewriting(self, patterns: Sequence[Any], spared: Collection[str]) -> Callable[[ir.Model, Log], int]:
        rewrite = rewriting(self.name, patterns, spared=spared)
        if not self.is_quiet:
            return rewrite

        def quietly(model: ir.Model, log: Log) -> int:
            own = Log()
            count = rewrite(model, own)
            log.hits += own.hits
            return count

        return quietly


def rules() -> dict[str, Rule]:
    """Returns every rule by name."""
    return cast(dict[str, Rule], offered(__name__, "RULE"))


def rule(name: str) -> Rule:
    """Returns the rule of that name.

    Raises:
        UsageError: when there is none.
    """
    known = rules()
    if name not in known:
        raise UsageError(f"rule '{name}' is unknown; expected {accepted(name, known)}.")
    return known[name]


def rewriting(
    name: str, patterns: Sequence[Any], *, spared: Collection[str] = frozenset()
) -> Callable[[ir.Model, Log], int]:
    """Returns what applies `RewriteRule`s to a graph under one name, and tells of their hits and near misses."""

    def run(model: ir.Model, log: Log) -> int:
        from onnxscript.rewriter import RewriteRuleSet

        watched = [_Watched(name, pattern, log, frozenset(spared)) for pattern in patterns]
        count: int = RewriteRuleSet(watched).apply_to_model(model)
        if count:
            RemoveUnusedNodesPass()(model)
            model.graph.sort()  # what a rule writes stands where the last of what it replaces stood
        return count

    return run


class _Watched:
    """A `RewriteRule` that says what it does, to the rule set that applies it as to the log."""

    def __init__(self, name: str, pattern: Any, log: Log, spared: frozenset[str]) -> None:
        self.name, self._pattern, self._log, self._spared = name, pattern, log, spared
        self.remove_nodes, self.as_function = pattern.remove_nodes, pattern.as_function
        self.graph_pre_visitor, self.graph_post_visitor = pattern.graph_pre_visitor, pattern.graph_post_visitor

    def try_rewrite(self, model: ir.Model, graph: ir.Graph, node: ir.Node, **_: Any) -> Any:
        """Rewrites what ends in a node, if it matches.

        Raises:
            RuleError: when the rule raises.
        """
        if {named(node), *(value.name for value in node.outputs)} & self._spared:
            return None  # a node without a name goes by what it gives, and the matcher names it on the way
        try:
            rewritten = self._pattern.try_rewrite(model, graph, node, tracer=self)
        except Exception as problem:  # a plug-in may raise anything; it is told by its name
            raise RuleError(self.name, node, problem) from problem
        if rewritten is not None:
            self._log.hit(self.name, node)
        return rewritten

    def log(self, _: Any, __: Any, node: ir.Node, match: Any, status: Any) -> None:
        """Takes what the matcher tells of one node, as its tracer."""
        from onnxscript.rewriter import MatchStatus

        is_declined = status in {MatchStatus.CONDITION_FAILED, MatchStatus.REPLACEMENT_FAILED}
        if is_declined and match.reason:
            self._log.miss(self.name, node, match.reason, next(iter(match.failure_nodes_and_values), None))
        elif status == MatchStatus.NO_MATCH and _IN_USE in match.reason:
            taken = _taken_elsewhere(match.nodes, node)
            self._log.miss(self.name, node, "Something else takes a value inside of the pattern.", taken)


def _taken_elsewhere(nodes: Sequence[ir.Node], root: ir.Node) -> ir.Value | None:
    """The first value inside of a match that a node outside of it, or the graph's caller, takes."""
    inside = [value for node in nodes if node is not root for value in node.outputs]
    return next(
        (value for value in inside if value.is_graph_output() or any(user not in nodes for user, _ in value.uses())),
        None,
    )
