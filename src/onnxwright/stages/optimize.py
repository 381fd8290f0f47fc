"""Rewrites a graph for each engine, and keeps what is shown right and measured to be faster there.

```
  graph ──► plans of rewrites ──► measured side by side ──► the fastest ──► proof ──► holds? ──yes──► a variant
                                                                 ▲                      │ no
                                                                 └── without the rule ◄─┘   or the next fastest
```
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from onnxwright import backends, environment
from onnxwright.backends import Options, Session
from onnxwright.errors import EngineError
from onnxwright.manifest import Latency, Optimization, Proof, Rewritten
from onnxwright.progress import Progress
from onnxwright.proof.prove import prove
from onnxwright.rewrites import Trace
from onnxwright.samples import TYPICAL
from onnxwright.stages import measure as measuring
from onnxwright.stages.attempt import Outcome, Workbench
from onnxwright.stages.examine import plan_of
from onnxwright.words import in_sizes

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.graph.optimizing import Plan

_GIVEN: Final = "as exported"
_SECONDS: Final = 12.0
"""For the measurement of all plans of an engine."""
_LEAST_GAIN: Final = 1.02
"""A plan that gains less over all sizes isn't worth a file."""
_MOST_PROOFS: Final = 4
_COPIES: Final = 3
"""So often an engine may hold the weights while it loads a graph."""


@dataclass(frozen=True)
class Optimized:
    """What came of one engine: the record, and the graph with its proof where one was kept."""

    engine: str
    record: Optimization
    model: onnx_ir.Model | None = None
    proof: Proof | None = None


@dataclass(frozen=True)
class _Candidate:
    plan: Plan
    model: onnx_ir.Model
    trace: Trace
    session: Session | None = None
    refusal: str = ""
    latencies: tuple[Latency, ...] = ()

    @property
    def nodes(self) -> int:
        return sum(self.trace.after.values())

    @property
    def gain(self) -> float:
        """The geometric mean of the speed-ups over all sizes."""
        return _mean(self.latencies)


def is_worth_it(latencies: Sequence[Latency]) -> bool:
    """Whether something is faster at a size, slower at none, and gains enough over all of them to be worth a file."""
    is_faster = any(one.speedup_interval[0] > 1.0 for one in latencies)
    is_slower = any(one.speedup_interval[1] < 1.0 for one in latencies)
    return is_faster and not is_slower and _mean(latencies) >= _LEAST_GAIN


def _mean(latencies: Sequence[Latency]) -> float:
    logs = [math.log(one.speedup) for one in latencies]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def optimize(bench: Workbench, chosen: Outcome, file: Path, progress: Progress) -> list[Optimized]:
    """Optimizes the graph in a file for each engine in which it was shown right, and that has a table of operators."""
    from onnxwright.graph.targets import TARGETS

    shown = [name for name, proof in chosen.proofs.items() if proof.verdict != "failed" and name in TARGETS]
    found = []
    for name in shown:
        with progress.stage(f"optimize for {name}"):
            found.append(_for_engine(_Bench(bench, chosen, file, name)))
            progress.note(f"{name}: {found[-1].record.told}")
    return found


@dataclass(frozen=True)
class _Bench:
    """An engine, the graph as exported, and what its plans are held against."""

    bench: Workbench
    chosen: Outcome
    file: Path
    engine: str

    @property
    def shown(self) -> Proof:
        """What the graph as exported was shown to do."""
        return self.chosen.proofs[self.engine]

    def prepared(self, model: onnx_ir.Model) -> Session:
        """Loads a graph into the engine.

        Raises:
            EngineError: when the engine refuses it.
        """
        from onnxwright.graph.saving import save_model

        with tempfile.TemporaryDirectory(dir=self.bench.folder) as folder:
            file = Path(folder) / self.file.name
            save_model(model, file)
            return backends.engine(self.engine).prepare(file, Options(environment.cores()))

    def has_room(self) -> bool:
        """Whether one more copy of the weights fits into memory, and what an engine makes of them."""
        size = sum(file.stat().st_size for file in self.file.parent.iterdir())
        free = environment.free_memory()
        return free is None or free > _COPIES * size

    def proven(self, session: Session) -> Proof:
        """Holds a session against the reference."""
        source, request = self.chosen.source or self.bench.source, self.bench.request
        plan = plan_of(source, self.bench.asked, proof=request.proof, seed=request.seed)
        return prove(self.bench.reference, {self.engine: session}, source.sampler, plan)[self.engine]


def _for_engine(bench: _Bench) -> Optimized:
    from onnxwright.graph.reading import read_model

    candidates = _measured(bench, list(_candidates(bench, read_model(bench.file))))
    ranked = sorted((one for one in candidates if _is_worth_a_proof(bench, one)), key=lambda one: -one.gain)
    refuted: dict[str, str] = {}
    for one in ranked[:_MOST_PROOFS]:
        for tried in (one, *_without_rules(bench, one)):
            proof = bench.proven(tried.session) if tried.session is not None else None
            if proof is not None and proof.verdict != "failed" and proof.extent >= bench.shown.extent:
                return _kept(bench, candidates, tried, proof, refuted)
            refuted[tried.plan.name] = _why(proof, tried)
    return Optimized(bench.engine, _record(bench, candidates, None, refuted))


def _candidates(bench: _Bench, model: onnx_ir.Model) -> Iterator[_Candidate]:
    """What the plans make of a graph, each graph once; loaded into the engine as long as there is memory for that."""
    from onnxwright.graph.optimizing import plans
    from onnxwright.graph.targets import target

    seen: list[dict[str, int]] = []
    for plan in plans(model, target(bench.engine)):
        made = _made(bench, plan, model)
        if made.trace.after not in seen and (made.trace.hits or made.trace.steps):
            seen.append(made.trace.after)
            yield _loaded(bench, made) if bench.has_room() else made


def _made(bench: _Bench, plan: Plan, model: onnx_ir.Model) -> _Candidate:
    from onnxwright.graph.optimizing import apply
    from onnxwright.graph.targets import target

    return _Candidate(plan, *apply(model, plan, target(bench.engine)))


def _loaded(bench: _Bench, one: _Candidate) -> _Candidate:
    try:
        return replace(one, session=bench.prepared(one.model))
    except EngineError as refusal:
        return replace(one, refusal=str(refusal))


def _measured(bench: _Bench, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The candidates with how they compare with the graph as exported, unless nothing is to be measured."""
    sessions = {one.plan.name: one.session for one in candidates if one.session is not None}
    if not bench.bench.request.is_measured or not sessions:
        return list(candidates)
    source = bench.bench.source
    shapes = measuring.shapes(source.profile.within(bench.shown.range))
    feeds = [(sizes, source.sampler.draw(sizes, TYPICAL, seed=bench.bench.request.seed)) for sizes in shapes]
    given = backends.engine(bench.engine).prepare(bench.file, Options(environment.cores()))
    plan = measuring.Plan(seconds=_SECONDS, seed=bench.bench.request.seed)
    found = measuring.measure({_GIVEN: given, **sessions}, feeds, baseline=_GIVEN, plan=plan)
    return [
        replace(one, latencies=found[one.plan.name].latencies) if one.plan.name in found else one for one in candidates
    ]


def _is_worth_a_proof(bench: _Bench, one: _Candidate) -> bool:
    """Whether a candidate is faster; where nothing was measured, whether it only makes the graph simpler."""
    if one.session is None:
        return False
    return is_worth_it(one.latencies) if bench.bench.request.is_measured else one.plan.is_simple


def _without_rules(bench: _Bench, one: _Candidate) -> Iterator[_Candidate]:
    """What a plan makes without the rules that need a proof, which one that fails is most likely to lie in."""
    from onnxwright.graph.reading import read_model

    plan = one.plan.without_doubt()
    if plan != one.plan:
        (tried,) = _measured(bench, [_loaded(bench, _made(bench, plan, read_model(bench.file)))])
        if _is_worth_a_proof(bench, tried):
            yield tried


def _kept(
    bench: _Bench, candidates: Sequence[_Candidate], kept: _Candidate, proof: Proof, refuted: Mapping[str, str]
) -> Optimized:
    return Optimized(bench.engine, _record(bench, candidates, kept, refuted), kept.model, proof)


def _record(
    bench: _Bench, candidates: Sequence[_Candidate], kept: _Candidate | None, refuted: Mapping[str, str]
) -> Optimization:
    is_measured = bench.bench.request.is_measured
    nearest = kept or max(candidates, key=lambda one: one.gain, default=None)
    told = [one for one in candidates if kept is None or one.plan.name != kept.plan.name]
    rows = [_row(one, kept, refuted, is_measured=is_measured) for one in ([kept, *told] if kept else told)]
    return Optimization(
        told=_told(kept, candidates, is_measured=is_measured),
        variant=None,
        is_measured=is_measured,
        plans=tuple(rows),
        trace=nearest.trace if nearest is not None else Trace(),
    )


def _row(one: _Candidate, kept: _Candidate | None, refuted: Mapping[str, str], *, is_measured: bool) -> Rewritten:
    if kept is not None and one.plan.name == kept.plan.name:
        return Rewritten(one.plan.name, one.nodes, "kept", latencies=one.latencies)
    if one.plan.name in refuted:
        return Rewritten(one.plan.name, one.nodes, "not shown right", refuted[one.plan.name], one.latencies)
    if one.refusal:
        return Rewritten(one.plan.name, one.nodes, "refused", one.refusal)
    if one.session is None:
        return Rewritten(one.plan.name, one.nodes, "not measured", "no memory for one more copy of the weights")
    if not is_measured:
        return Rewritten(one.plan.name, one.nodes, "not measured")
    return Rewritten(one.plan.name, one.nodes, compared(one.latencies), latencies=one.latencies)


def compared(latencies: Sequence[Latency]) -> Literal["not the fastest", "slower", "no faster"]:
    """What is said of a plan by its speed alone, where another one is kept or none is."""
    if is_worth_it(latencies):
        return "not the fastest"
    return "slower" if any(one.speedup_interval[1] < 1.0 for one in latencies) else "no faster"


def _told(kept: _Candidate | None, candidates: Sequence[_Candidate], *, is_measured: bool) -> str:
    if kept is None:
        count = len(candidates)
        why = "shown right and measured to be faster" if is_measured else "shown right"
        return f"the graph as exported stays: of {count} plans none was {why}." if count else "nothing to rewrite."
    before, after = sum(kept.trace.before.values()), kept.nodes
    told = f"'{kept.plan.name}' is kept, {before} nodes became {after}"
    if not is_measured:
        return f"{told}; nothing was measured, so only what makes the graph simpler was done."
    gains = (f"{measuring.in_words(one)} at {in_sizes(one.sizes)}" for one in kept.latencies)
    return f"{told}: {'; '.join(gains)}."


def _why(proof: Proof | None, tried: _Candidate) -> str:
    if proof is None:
        return tried.refusal
    told = [found.message for found in proof.findings if found.code in {"outputs-differ", "values-differ"}]
    return " ".join(told) or f"shown for {in_sizes({dim: high for dim, (_, high) in proof.range.items()})} at most."
