"""The search for the plan of rewrites that makes a graph fastest in an engine, and is shown right.

```
  graph ──► plans of rewrites ──► measured side by side ──► the fastest ──► judged ──► holds? ──yes──► kept
                                                                 ▲                       │ no
                                                                 └── without the rules ◄─┘   or the next fastest
                                                                     or rewrites to blame
```
What a plan is held to is for a `Subject` to say: the graph as exported to the reference, one in a lower precision to
its budget, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from msgspec import structs

from onnxwright.manifest import Optimization, Proof, Rewritten
from onnxwright.rewrites import Trace
from onnxwright.stages.measure import gains_in_words
from onnxwright.stages.trials import Candidate, Trials, told_speed

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.backends import Session
    from onnxwright.graph.optimizing import Plan, Step

_MOST_PROOFS: Final = 6
"""So many plans, and what is left of them without what was to blame, are held against the reference at all points."""
_MOST_NODES: Final = 2
"""Where a rule is wrong at more nodes than these, it is left out whole."""


class Refuted(NamedTuple):
    """Why what a plan makes isn't kept, and what tells whether others are wrong in the same way, where that can be."""

    wrong: str
    fails: Callable[[Session], bool] | None


class Subject(Protocol):
    """A graph that is rewritten for an engine, and what is asked of what comes of it."""

    @property
    def called(self) -> str:
        """What the graph is called, in a sentence."""

    @property
    def model(self) -> onnx_ir.Model:
        """The graph."""

    @property
    def trials(self) -> Trials:
        """The engine, with the graph in it."""

    @property
    def is_measured(self) -> bool:
        """Whether plans are measured; else a graph is only made simpler."""

    def judge(self, one: Candidate, session: Session) -> Proof | Refuted:
        """Holds what a plan makes to what is asked of it."""

    def telling(self, session: Session, model: onnx_ir.Model) -> Session:
        """The session of a graph as judgements take it."""


@dataclass
class _Search:
    """What plans make of a subject, by their names."""

    subject: Subject
    candidates: dict[str, Candidate] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    """The plans of which it is known by now whether they are right."""
    wrong: dict[str, Refuted] = field(default_factory=dict)
    """The plans that were shown to be wrong."""

    def take_in(self, *candidates: Candidate) -> None:
        """Notes candidates, and what has become known of them."""
        self.candidates.update({one.plan.name: one for one in candidates})

    def made(self, plan: Plan) -> Candidate:
        """What a plan makes of the graph as it was."""
        from onnxwright.graph.optimizing import apply
        from onnxwright.graph.targets import target

        return Candidate(plan, *apply(self.subject.model, plan, target(self.subject.trials.engine)))

    def loaded(self, one: Candidate) -> tuple[Candidate, Session | None]:
        """Loads a candidate, as judgements take it."""
        tried, session = self.subject.trials.loaded(one)
        return tried, None if session is None else self.subject.telling(session, tried.model)

    def fastest(self) -> Candidate | None:
        """The fastest candidate that is still to be tried; where nothing was measured, one that is simpler only."""
        worth = [one for one in self.candidates.values() if one.plan.name not in self.tried and self._is_worth_it(one)]
        return max(worth, key=lambda one: one.gain, default=None)

    def refuting(self, session: Session) -> str | None:
        """Names a plan that was wrong at points where a session is wrong, too."""
        return next((name for name, told in self.wrong.items() if told.fails and told.fails(session)), None)

    def measured(self, made: Sequence[Candidate]) -> Sequence[Candidate]:
        """Candidates with how fast they are, where that is measured."""
        return self.subject.trials.measured(made) if self.subject.is_measured else made

    def _is_worth_it(self, one: Candidate) -> bool:
        return one.is_worth_it if self.subject.is_measured else one.plan.is_simple


@dataclass(frozen=True)
class Found:
    """What came of a search: the record, and what is kept of it with its proof, if anything is."""

    record: Optimization
    kept: Candidate | None = None
    proof: Proof | None = None


def rewritten(subject: Subject) -> Found:
    """Returns what the fastest plan that holds makes of a graph, and what was tried."""
    search = _Search(subject)
    search.take_in(*search.measured(list(_distinct(subject))))
    while len(search.wrong) < _MOST_PROOFS and (one := search.fastest()) is not None:
        kept, proof = _shown(search, one)
        if proof is not None:
            return Found(_record(search, kept), kept, proof)
    return Found(_record(search, None))


def _distinct(subject: Subject) -> Iterator[Candidate]:
    """What the plans make of a graph, each graph once."""
    from onnxwright.graph.optimizing import apply_all, plans
    from onnxwright.graph.targets import target

    seen: list[dict[str, int]] = []
    engine = target(subject.trials.engine)
    chosen = [one for one in plans(subject.model, engine) if subject.is_measured or one.is_simple]
    for each in apply_all(subject.model, chosen, engine):
        made = Candidate(*each)
        if made.trace.after not in seen and (made.trace.hits or made.trace.steps):
            seen.append(made.trace.after)
            yield made


def _shown(search: _Search, one: Candidate) -> tuple[Candidate, Proof | None]:
    """A candidate with its proof if that holds; else what is left of it without what is to blame is one, too."""
    search.tried.add(one.plan.name)
    tried, session = search.loaded(one)
    search.take_in(tried)
    if session is None:
        return tried, None
    other = search.refuting(session)
    if other is not None:
        search.take_in(replace(tried, wrong=f"It is wrong where '{other}' is."))
        return tried, None
    verdict = search.subject.judge(tried, session)
    if isinstance(verdict, Proof):
        return tried, verdict
    _roll_back(search, replace(tried, wrong=verdict.wrong), verdict)
    return tried, None


def _roll_back(search: _Search, one: Candidate, refuted: Refuted) -> None:
    """Notes that a plan isn't right, and takes in what it makes without what is to blame, unless another makes that."""
    search.wrong[one.plan.name] = refuted
    guilty = _guilty(search, one, refuted.fails)
    told = tuple(map(str, guilty))
    search.take_in(replace(one, rolled_back=told))
    if not guilty:
        return
    made = replace(search.made(one.plan.without(guilty)), rolled_back=(*one.rolled_back, *told))
    if all(other.trace.after != made.trace.after for other in search.candidates.values()):
        search.take_in(*search.measured([made]))


def _guilty(search: _Search, one: Candidate, is_wrong: Callable[[Session], bool] | None) -> tuple[Step, ...]:
    """The rules of a plan, or what they rewrite at a node, without which the others are right at the wrong points."""
    from onnxwright.graph.blaming import to_blame
    from onnxwright.graph.optimizing import Step

    if is_wrong is None:
        return tuple(Step(name) for name in one.plan.doubtful if name in one.trace.counts)

    def fails(plan: Plan) -> bool:
        _, session = search.loaded(search.made(plan))
        return session is None or is_wrong(session)

    taken = [name for name in one.plan.rules if name in one.trace.counts]
    guilty = to_blame(taken, lambda names: fails(replace(one.plan, rules=tuple(names)))) or ()
    return tuple(step for name in guilty for step in _narrowed(name, guilty, one, fails))


def _narrowed(name: str, guilty: Sequence[str], one: Candidate, fails: Callable[[Plan], bool]) -> list[Step]:
    """What a rule rewrites at the few nodes that are to blame; the rule, where they are many or can't be told apart."""
    from onnxwright.graph.blaming import to_blame
    from onnxwright.graph.optimizing import Step

    plan = one.plan.without([Step(other) for other in guilty if other != name])
    nodes = list(dict.fromkeys(hit.node for hit in one.trace.hits if hit.rule == name))

    def fails_with(kept: Sequence[str]) -> bool:
        return fails(plan.without([Step(name, node) for node in nodes if node not in kept]))

    found = to_blame(nodes, fails_with, most=_MOST_NODES) if plan.can_spare(name) else None
    return [Step(name)] if not found or len(found) == len(nodes) else [Step(name, node) for node in found]


def _record(search: _Search, kept: Candidate | None) -> Optimization:
    candidates = list(search.candidates.values())
    nearest = kept or max(candidates, key=lambda one: one.gain, default=None)
    told = [one for one in candidates if kept is None or one.plan.name != kept.plan.name]
    rows = [_row(one, kept, is_measured=search.subject.is_measured) for one in ([kept, *told] if kept else told)]
    return Optimization(
        told=_told(search.subject, kept, len(candidates)),
        variant=None,
        is_measured=search.subject.is_measured,
        plans=tuple(rows),
        trace=nearest.trace if nearest is not None else Trace(),
    )


def _row(one: Candidate, kept: Candidate | None, *, is_measured: bool) -> Rewritten:
    row = Rewritten(
        one.plan.name, one.nodes, "not measured", "", one.latencies, control=one.control, rolled_back=one.rolled_back
    )
    if kept is not None and one.plan.name == kept.plan.name:
        return structs.replace(row, outcome="kept")
    if one.wrong:
        return structs.replace(row, outcome="not shown right", message=one.wrong)
    if one.refusal:
        return structs.replace(row, outcome="refused", message=one.refusal)
    if not one.has_room:
        return structs.replace(row, message="no memory for one more copy of the weights")
    return structs.replace(row, outcome=told_speed(one.latencies, one.control)) if is_measured else row


def _told(subject: Subject, kept: Candidate | None, count: int) -> str:
    is_measured = subject.is_measured
    if kept is None:
        why = "shown right and measured to be faster" if is_measured else "shown right"
        return f"{subject.called} stays: of {count} plans none was {why}." if count else "nothing to rewrite."
    before, after = sum(kept.trace.before.values()), kept.nodes
    told = f"'{kept.plan.name}' is kept, {before} nodes became {after}"
    if not is_measured:
        return f"{told}; nothing was measured, so only what makes the graph simpler was done."
    return f"{told}: {gains_in_words(kept.latencies)}."
