"""Rewrites a graph for each engine, and keeps what is shown right and measured to be faster there.

```
  graph ──► plans of rewrites ──► measured side by side ──► the fastest ──► proof ──► holds? ──yes──► a variant
                                                                 ▲                      │ no
                                                                 └─ without the rules ◄─┘   or the next fastest
                                                                    or rewrites to blame
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import structs

from onnxwright.manifest import Optimization, Proof, Rewritten
from onnxwright.progress import Progress
from onnxwright.proof.replay import Replay
from onnxwright.rewrites import Trace
from onnxwright.stages import measure as measuring
from onnxwright.stages.attempt import Outcome, Workbench
from onnxwright.stages.trials import Candidate, Trials, proven, shortfall, shows_as_much, told_speed
from onnxwright.words import in_sizes

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.backends import Session
    from onnxwright.graph.optimizing import Plan, Step

_MOST_PROOFS: Final = 6
"""So many plans, and what is left of them without what was to blame, are held against the reference at all points."""
_MOST_NODES: Final = 2
"""Where a rule is wrong at more nodes than these, it is left out whole."""


@dataclass(frozen=True)
class Optimized:
    """What came of one engine: the record, and the graph with its proof where one was kept."""

    engine: str
    record: Optimization
    model: onnx_ir.Model | None = None
    proof: Proof | None = None


def optimize(bench: Workbench, chosen: Outcome, file: Path, progress: Progress) -> list[Optimized]:
    """Optimizes the graph in a file for each engine in which it was shown right, and that has a table of operators."""
    from onnxwright.graph.targets import TARGETS

    shown = [name for name, proof in chosen.proofs.items() if proof.verdict != "failed" and name in TARGETS]
    found = []
    for name in shown:
        with progress.stage(f"optimize for {name}"):
            found.append(_for_engine(_search(bench, chosen, file, name)))
            progress.note(f"{name}: {found[-1].record.told}")
    return found


@dataclass
class _Search:
    """An engine, what plans are held against, and the candidates by the names of their plans."""

    bench: Workbench
    chosen: Outcome
    trials: Trials
    model: onnx_ir.Model
    candidates: dict[str, Candidate] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    """The plans of which it is known by now whether they are right."""
    wrong: dict[str, Replay] = field(default_factory=dict)
    """Where plans answered wrong."""

    @property
    def is_measured(self) -> bool:
        return self.bench.request.is_measured

    @property
    def shown(self) -> Proof:
        """What the graph as exported was shown to do."""
        return self.chosen.proofs[self.trials.engine]

    def take_in(self, *candidates: Candidate) -> None:
        """Notes candidates, and what has become known of them."""
        self.candidates.update({one.plan.name: one for one in candidates})

    def made(self, plan: Plan) -> Candidate:
        """What a plan makes of the graph as exported."""
        from onnxwright.graph.optimizing import apply
        from onnxwright.graph.targets import target

        return Candidate(plan, *apply(self.model, plan, target(self.trials.engine)))

    def proven(self, session: Session) -> Proof:
        """Holds a session against the reference."""
        return proven(self.bench, self.chosen, self.trials.engine, session)

    def holds(self, proof: Proof) -> bool:
        """Whether as much was shown as of the graph as exported."""
        return shows_as_much(proof, self.shown)

    def fastest(self) -> Candidate | None:
        """The fastest candidate that is still to be tried; where nothing was measured, one that is simpler only."""
        worth = [one for one in self.candidates.values() if one.plan.name not in self.tried and self._is_worth_it(one)]
        return max(worth, key=lambda one: one.gain, default=None)

    def refuting(self, session: Session) -> str | None:
        """Names a plan that was wrong at points where a session is wrong, too."""
        return next((name for name, replay in self.wrong.items() if replay.fails(session)), None)

    def _is_worth_it(self, one: Candidate) -> bool:
        return one.is_worth_it if self.is_measured else one.plan.is_simple


def _search(bench: Workbench, chosen: Outcome, file: Path, engine: str) -> _Search:
    from onnxwright.graph.reading import read_model

    return _Search(bench, chosen, Trials.of(bench, chosen, engine, file), read_model(file))


def _for_engine(search: _Search) -> Optimized:
    made = list(_distinct(search))
    search.take_in(*(search.trials.measured(made) if search.is_measured else made))
    while len(search.wrong) < _MOST_PROOFS and (one := search.fastest()) is not None:
        kept, proof = _shown(search, one)
        if proof is not None:
            return Optimized(search.trials.engine, _record(search, kept), kept.model, proof)
    return Optimized(search.trials.engine, _record(search, None))


def _distinct(search: _Search) -> Iterator[Candidate]:
    """What the plans make of a graph, each graph once."""
    from onnxwright.graph.optimizing import apply_all, plans
    from onnxwright.graph.targets import target

    seen: list[dict[str, int]] = []
    engine = target(search.trials.engine)
    chosen = [one for one in plans(search.model, engine) if search.is_measured or one.is_simple]
    for each in apply_all(search.model, chosen, engine):
        made = Candidate(*each)
        if made.trace.after not in seen and (made.trace.hits or made.trace.steps):
            seen.append(made.trace.after)
            yield made


def _shown(search: _Search, one: Candidate) -> tuple[Candidate, Proof | None]:
    """A candidate with its proof if that holds; else what is left of it without what is to blame is one, too."""
    search.tried.add(one.plan.name)
    tried, session = search.trials.loaded(one)
    search.take_in(tried)
    if session is None:
        return tried, None
    other = search.refuting(session)
    if other is not None:
        search.take_in(replace(tried, wrong=f"It is wrong where '{other}' is."))
        return tried, None
    proof = search.proven(session)
    if search.holds(proof):
        return tried, proof
    _roll_back(search, tried, proof)
    return tried, None


def _roll_back(search: _Search, one: Candidate, proof: Proof) -> None:
    """Notes why a plan isn't right, and takes in what it makes without what is to blame, unless another makes that."""
    source = search.chosen.source or search.bench.source
    replay = Replay(search.bench.reference, source.sampler, source.profile, proof.failures)
    search.wrong[one.plan.name] = replay
    guilty = _guilty(search, one, replay)
    told = tuple(map(str, guilty))
    search.take_in(replace(one, wrong=shortfall(proof), rolled_back=told))
    if not guilty:
        return
    made = replace(search.made(one.plan.without(guilty)), rolled_back=(*one.rolled_back, *told))
    if all(other.trace.after != made.trace.after for other in search.candidates.values()):
        search.take_in(*(search.trials.measured([made]) if search.is_measured else [made]))


def _guilty(search: _Search, one: Candidate, replay: Replay) -> tuple[Step, ...]:
    """The rules of a plan, or what they rewrite at a node, without which the others are right at the wrong points."""
    from onnxwright.graph.blaming import to_blame
    from onnxwright.graph.optimizing import Step

    if replay.is_empty:
        return tuple(Step(name) for name in one.plan.doubtful if name in one.trace.counts)

    def fails(plan: Plan) -> bool:
        _, session = search.trials.loaded(search.made(plan))
        return session is None or replay.fails(session)

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
    rows = [_row(one, kept, is_measured=search.is_measured) for one in ([kept, *told] if kept else told)]
    return Optimization(
        told=_told(kept, len(candidates), is_measured=search.is_measured),
        variant=None,
        is_measured=search.is_measured,
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


def _told(kept: Candidate | None, count: int, *, is_measured: bool) -> str:
    if kept is None:
        why = "shown right and measured to be faster" if is_measured else "shown right"
        return f"the graph as exported stays: of {count} plans none was {why}." if count else "nothing to rewrite."
    before, after = sum(kept.trace.before.values()), kept.nodes
    told = f"'{kept.plan.name}' is kept, {before} nodes became {after}"
    if not is_measured:
        return f"{told}; nothing was measured, so only what makes the graph simpler was done."
    gains = (f"{measuring.in_words(one)} at {in_sizes(one.sizes)}" for one in kept.latencies)
    return f"{told}: {'; '.join(gains)}."
