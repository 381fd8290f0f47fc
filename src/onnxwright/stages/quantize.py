"""Lowers the precision of a graph for each engine, and keeps what stays within the budget and is faster there.

```
  recipes ──► made, with what is too costly left in float32 ──► within the budget on half of the samples?
                                                                        │ yes
       a variant ◄── proof ◄── within the budget on the other half? ◄── measured side by side: the fastest first
```
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnxwright import backends, environment
from onnxwright.backends import Options, Session
from onnxwright.corpus import Corpus
from onnxwright.errors import EngineError, FutileError, ProofError, RouteError, UsageError
from onnxwright.findings import Finding
from onnxwright.losses import loss_of
from onnxwright.manifest import Came, Candidate, Latency, Neighbours, Proof, Quantization
from onnxwright.progress import Progress
from onnxwright.proof.replay import telling
from onnxwright.recipes import AUTO, Material, Recipe, recipes_for
from onnxwright.rewrites import Lowered
from onnxwright.stages.attempt import Outcome, Workbench
from onnxwright.stages.mixing import mixes, refuse_late
from onnxwright.stages.scoring import Scoring, batch_of
from onnxwright.stages.trials import AT_ONCE, CONTROL, Trials, proven, shortfall, shows_as_much, told_speed
from onnxwright.stages.tried import Tried, lost_of, told_of, unmet
from onnxwright.tolerance import quantized

if TYPE_CHECKING:
    import onnx_ir

_SECONDS: Final = 12.0
"""For the measurement of all candidates of an engine."""
_LEAST_PROOFS: Final = 4
"""So many are tried to be proven, even after the time for the search."""
_MOST_OVER: Final = 2.0
"""What loses more than so many times the budget on the samples that judge isn't made anew."""
_MOST_ISLANDS: Final = 16
"""So many graphs are judged to find what has to stay in float32, where nothing foretells it."""


@dataclass(frozen=True)
class Quantized:
    """What came of one engine: the record, and the graph with its proof where one was kept."""

    engine: str
    record: Quantization
    kept: Candidate | None = None
    model: onnx_ir.Model | None = None
    proof: Proof | None = None
    precision: str = "float32"
    is_futile: bool = False
    """Whether nothing of the graph can be lowered as it was asked for, so that float32 is all there is."""

    @property
    def is_as_exported(self) -> bool:
        """Whether the graph is the one as exported, and only executed in a lower type."""
        return self.kept is not None and self.precision == self.kept.execution


@dataclass(frozen=True)
class _Search:
    """An engine, the graph as exported, the samples, and the budget."""

    bench: Workbench
    chosen: Outcome
    file: Path
    engine: str
    scoring: Scoring
    budget: float
    deadline: float
    material: Material

    @property
    def shown(self) -> Proof:
        return self.chosen.proofs[self.engine]

    @property
    def is_auto(self) -> bool:
        return self.bench.request.precision == AUTO

    @property
    def is_measured(self) -> bool:
        return self.bench.request.is_measured

    def loss(self, session: Session) -> float:
        return self.scoring.calibrate(session)[0].amount

    def having_seen(self, proof: Proof) -> _Search:
        """The same search with the points at which a proof failed as samples to calibrate by."""
        sampler = (self.chosen.source or self.bench.source).sampler
        points = telling(sampler, proof.failures)
        feeds = [sampler.draw(failure.sizes, values, seed=failure.seed) for failure, values in points]
        return replace(self, material=self.material.having_seen(feeds)) if feeds else self

    def prepared(self, model: onnx_ir.Model, execution: str) -> tuple[Session, int]:
        """Loads a graph into the engine; returns how large its file is, too.

        Raises:
            EngineError: when the engine refuses it.
        """
        from onnxwright.graph.saving import saved

        self.bench.reference.rest()
        with saved(model, self.file.name, self.bench.folder) as file:
            size = sum(one.stat().st_size for one in file.parent.iterdir())
            options = Options(environment.cores(), execution, allows_fallback=self.bench.request.allows_fallback)
            session = backends.engine(self.engine).prepare(file, options)
            return _refuse_another(session, execution), size

    def loaded(self, one: Tried) -> Session:
        """Loads once more what a recipe has made."""
        assert one.lowered is not None, "chosen among those that were made"
        return self.prepared(one.lowered.model, one.execution)[0]

    def witnesses(self, recipe: Recipe, model: onnx_ir.Model) -> Iterator[Session]:
        """Yields what shows on every processor what a recipe's type does, where the engine doesn't."""
        seen = recipe.witness(model)
        if seen is not None:
            yield self.material.load(seen, is_optimized=False)


def quantize(
    bench: Workbench, chosen: Outcome, file: Path, corpus: Corpus, progress: Progress
) -> tuple[list[Quantized], tuple[Finding, ...]]:
    """Lowers the graph in a file for each engine in which it was shown right, as the request asks.

    Returns what came of each engine, and what is to be known of the samples.

    Raises:
        UsageError: when the labels are none that the model knows.
        ProofError: when a precision was asked for, and nothing of it stays within the budget in any engine.
    """
    request = bench.request
    source = chosen.source or bench.source
    loss = loss_of(source.task, source.signature, source.task_options, specials=corpus.specials)
    budget = loss.budget if request.max_loss is None else request.max_loss
    with progress.stage("ask the samples"):
        scoring = Scoring.of(loss, corpus, bench.reference.session)
        scoring.check_labels()
    for told in scoring.findings:
        progress.note(told.message)
    material = _material(bench, file, scoring)
    found = []
    for name in [name for name, proof in chosen.proofs.items() if proof.verdict != "failed"]:
        deadline = time.monotonic() + request.search_seconds
        with progress.stage(f"lower precision for {name}"):
            found.append(_for_engine(_Search(bench, chosen, file, name, scoring, budget, deadline, material), progress))
            progress.note(f"{name}: {found[-1].record.told}")
    if all(one.is_futile for one in found):
        reasons = dict.fromkeys(row.message for one in found for row in one.record.candidates)
        kept = Finding("precision-kept", f"'{request.precision}': {' '.join(reasons)}")
        return found, (*scoring.findings, kept)
    if request.precision != AUTO and all(one.kept is None for one in found):
        rows = [(one.engine, row) for one in found for row in one.record.candidates]
        raise ProofError(unmet(request.precision, found[0].record.budget, rows))
    return found, scoring.findings


def _material(bench: Workbench, file: Path, scoring: Scoring) -> Material:
    from onnxwright.graph.reading import read_model
    from onnxwright.graph.saving import saved

    def load(model: onnx_ir.Model, *, is_optimized: bool = True) -> Session:
        from onnxwright.backends.onnxruntime import OnnxRuntimeSession

        bench.reference.rest()
        with saved(model, file.name, bench.folder) as place:
            return OnnxRuntimeSession(place, Options(environment.cores()), is_optimized=is_optimized)

    return Material(read_model(file), load, scoring.calibration, bench.request.seed)


def _refuse_another(session: Session, execution: str) -> Session:
    """Refuses an engine that executes in another type than it was told to."""
    if execution != "float32" and session.ran.precision not in {execution, "int8"}:
        raise EngineError(f"it was told to execute in {execution}, and executes in {session.ran.precision}.")
    return session


def _for_engine(search: _Search, progress: Progress) -> Quantized:
    # Those with islands last: they are judged node by node, which takes the longest.
    recipes = sorted(recipes_for(search.bench.request.precision), key=lambda recipe: recipe.has_islands)
    made = [one for recipe in recipes for one in _of_recipe(search, recipe)]
    tried = _mended(search, made)
    for one in tried:
        progress.note(f"{search.engine}: {one.name}: {one.told}")
    found = {one.name: one for one in _measured(search, tried)}
    again, proofs = set[str](), 0
    while proofs < _LEAST_PROOFS or time.monotonic() < search.deadline:
        ready = [one for one in found.values() if one.is_within and one.came == "not the fastest"]
        if not ready:
            break
        one = max(ready, key=lambda one: one.gain)
        session = search.loaded(one)
        verdict = _judged(search, one, session)
        if not verdict.message:
            proof, proofs = _proven(search, verdict, session), proofs + 1
            if shows_as_much(proof, search.shown):
                found[one.name] = verdict
                return _concluded(search, [*found.values()], verdict, proof)
            verdict = replace(verdict, came="not shown right", message=shortfall(proof))
            search = search.having_seen(proof)
        del session  # for what is made anew
        other = _anew(search, verdict) if one.name not in again else None
        again.add(one.name)
        found[one.name] = other or verdict
    return _concluded(search, [*found.values()], None, None)


def _of_recipe(search: _Search, recipe: Recipe) -> Iterator[Tried]:
    """Yields what a recipe makes for the engine, once for each type that this may execute the rest in."""
    refusal = recipe.refusal(search.engine)
    if refusal is not None:
        yield Tried(recipe, recipe.executions[0], came="refused", message=refusal)
        return
    offered = backends.engine(search.engine).precisions
    for execution in (one for one in recipe.executions if one in offered or one == "float32"):
        start = Tried(recipe, execution)
        if execution not in offered:
            yield replace(start, came="refused", message=f"it doesn't execute in {execution}.")
        elif time.monotonic() > search.deadline:
            yield replace(
                start, came="not measured", message="the time for the search ran out; allow more with --search-time."
            )
        else:
            yield _made(search, start)


def _made(search: _Search, start: Tried) -> Tried:
    """Makes a graph of all that a recipe lowers, and judges it by the samples that calibrate it."""
    try:
        found = _loaded(search, start, {})
    except (EngineError, RouteError, UsageError) as refusal:
        is_futile = isinstance(refusal, FutileError)
        return replace(start, came="refused", message=str(refusal), is_futile=is_futile)
    assert found.calibrated is not None, "it was loaded"
    if found.calibrated.amount <= search.budget:
        return found
    told = f"{lost_of(found.calibrated, search.budget)} on the samples that it is made with."
    return replace(found, came="over budget", message=found.calibrated.message or told)


def _mended(search: _Search, made: Sequence[Tried]) -> list[Tried]:
    """What was made, and in the place of what loses too much the same with more in float32, where there is such.

    All is made before anything is mended, and what lacks least is mended first: that takes long, and the time may end.
    """
    over = [one for one in made if one.calibrated is not None and one.came == "over budget"]
    mended = {one.name: _with_more_kept(search, one) for one in sorted(over, key=_lost)}
    return [mended.get(one.name, one) for one in made]


def _lost(one: Tried) -> float:
    assert one.calibrated is not None, "chosen among those that were loaded"
    return one.calibrated.amount


def _with_more_kept(search: _Search, over: Tried) -> Tried:
    try:
        return next(_within(search, over), over)
    except (EngineError, RouteError) as refusal:
        return replace(over, message=f"{over.message} With more in float32: {refusal}")


def _loaded(search: _Search, start: Tried, kept: Mapping[str, str]) -> Tried:
    return _calibrated(search, start, search.material.lowered_by(start.recipe, kept))


def _calibrated(search: _Search, start: Tried, lowered: Lowered) -> Tried:
    session, size = search.prepared(lowered.model, start.execution)
    scores = [search.scoring.calibrate(one) for one in (session, *search.witnesses(start.recipe, lowered.model))]
    accuracy, _ = max(scores, key=lambda score: score[0].amount)
    _, errors = scores[-1]
    return replace(start, lowered=lowered, size=size, calibrated=accuracy, errors=errors)


def _within(search: _Search, found: Tried) -> Iterator[Tried]:
    """Yields what stays within the budget once some nodes are left in float32."""
    yield from _mixed(search, found, search.budget)
    if found.recipe.has_islands:
        yield from _with_islands(search, found)


def _mixed(search: _Search, found: Tried, budget: float) -> Iterator[Tried]:
    """Yields what stays within a budget once the costliest products are left in float32."""
    for kept in mixes(search.material, found.recipe, search.loss, budget, deadline=search.deadline):
        refuse_late(search.deadline)
        tried = _loaded(search, Tried(found.recipe, found.execution), kept)
        if tried.calibrated is not None and tried.calibrated.amount <= budget:
            yield tried


def _anew(search: _Search, wrong: Tried) -> Tried | None:
    """What isn't right for what it wasn't made with, made anew; None where that can't be.

    What loses more on the samples that judge is to lose less by as much. What is wrong at some sizes is made with the
    points where something was, or, if samples don't matter for it, is to lose half as much.
    """
    assert wrong.calibrated is not None, "it was judged"
    assert wrong.judged is not None, "it was judged"
    with contextlib.suppress(EngineError, RouteError):
        if wrong.came != "over budget":
            return _with_points(search, wrong) or _with_less_lost(search, wrong, wrong.calibrated.amount / 2)
        if search.budget < wrong.judged.amount < _MOST_OVER * search.budget:
            return _with_less_lost(search, wrong, search.budget**2 / wrong.judged.amount)
    return None


def _with_points(search: _Search, wrong: Tried) -> Tried | None:
    """What a recipe makes of the samples and the points where something was wrong, within the budget."""
    count = len(search.material.calibration) - len(search.scoring.calibration)
    if not count or not wrong.recipe.is_calibrated:
        return None
    refuse_late(search.deadline)
    made = _made(search, Tried(wrong.recipe, wrong.execution))
    found = made if made.is_within else next(_mixed(search, wrong, search.budget), None)
    told = f"made anew, calibrated by {count} points as well at which something was wrong"
    return None if found is None else _measured(search, [replace(found, anew=told)])[0]


def _with_less_lost(search: _Search, wrong: Tried, budget: float) -> Tried | None:
    """The same with more in float32, so that it stays within a smaller budget."""
    made = next(_mixed(search, wrong, budget), None)
    told = f"made anew to lose at most {budget:.2g} on the samples that calibrate"
    return None if made is None else _measured(search, [replace(made, anew=told)])[0]


def _with_islands(search: _Search, found: Tried) -> Iterator[Tried]:
    from onnxwright.graph.precision.islands import grown

    if found.lowered is None or found.lowered.model is search.material.model:
        return

    def is_right(model: onnx_ir.Model) -> bool:
        if time.monotonic() > search.deadline:
            return False
        own, _ = search.prepared(model, found.execution)
        return all(search.loss(one) <= search.budget for one in (*search.witnesses(found.recipe, model), own))

    made = grown(lambda kept: found.recipe.make(search.material, kept), is_right, most_trials=_MOST_ISLANDS)
    if made.is_right:
        yield _calibrated(search, Tried(found.recipe, found.execution), made.lowered)


def _measured(search: _Search, tried: Sequence[Tried]) -> list[Tried]:
    """The candidates with how they compare with the graph as exported, unless nothing is to be measured."""
    within = [one for one in tried if one.is_within]
    if not search.is_measured or not within:
        return list(tried)
    trials = Trials.of(search.bench, search.chosen, search.engine, search.file)
    groups = [within[start : start + AT_ONCE] for start in range(0, len(within), AT_ONCE)]
    share = _SECONDS / len(within)
    timed = {one.name: one for group in groups for one in _compared(search, trials, group, share * len(group))}
    return [timed.get(one.name, one) for one in tried]


def _compared(search: _Search, trials: Trials, group: Sequence[Tried], seconds: float) -> Iterator[Tried]:
    """Candidates that are in memory together for as long as they are measured."""
    found = trials.latencies({one.name: search.loaded(one) for one in group}, seconds)
    return (_timed(search, one, found[one.name], found[CONTROL]) for one in group)


def _timed(search: _Search, one: Tried, latencies: tuple[Latency, ...], control: tuple[Latency, ...]) -> Tried:
    came: Came = told_speed(latencies, control) if search.is_auto else "not the fastest"
    return replace(one, latencies=latencies, came=came)


def _judged(search: _Search, one: Tried, session: Session) -> Tried:
    """A candidate with what it loses on the samples that it wasn't made with, and to its neighbours."""
    assert one.lowered is not None, "chosen among those that were made"
    sessions = (session, *search.witnesses(one.recipe, one.lowered.model))
    accuracy = max(map(search.scoring.judge, sessions), key=lambda found: found.amount)
    near = _beside_others(search, session)
    found = replace(one, judged=accuracy, neighbours=near)
    if accuracy.amount > search.budget:
        told = f"{lost_of(accuracy, search.budget)} on the samples that judge it."
        return replace(found, came="over budget", message=accuracy.message or told)
    if near is not None and (near.loss is None or near.loss > search.budget):
        told = "answers NaN or infinity" if near.loss is None else f"loses {near.loss:.2g}"
        return replace(found, came="over budget", message=f"a row {told}, depending on what else is in its batch.")
    return found


def _beside_others(search: _Search, session: Session) -> Neighbours | None:
    source, request = search.bench.source, search.bench.request
    batch = batch_of(source, source.profile.within(search.shown.range), seed=request.seed)
    if batch is None:
        return None
    return search.scoring.neighbours(session, search.bench.reference.session, batch, search.budget)


def _proven(search: _Search, one: Tried, session: Session) -> Proof:
    held_to = quantized(one.errors, search.material.decided)
    return proven(search.bench, search.chosen, search.engine, session, held_to)


def _concluded(search: _Search, tried: Sequence[Tried], kept: Tried | None, proof: Proof | None) -> Quantized:
    rows = [one.concluded(kept, is_measured=search.is_measured) for one in tried]
    told = told_of(tried, kept, search.budget)
    scoring = search.scoring
    record = Quantization(
        told=told,
        variant=None,
        asked=search.bench.request.precision,
        budget=search.budget,
        measure=scoring.loss.told,
        samples=scoring.corpus.origin,
        calibrating=len(scoring.calibration),
        judging=len(scoring.corpus.judged),
        is_measured=search.is_measured,
        candidates=tuple(rows),
        instructions=environment.instructions(),
    )
    if kept is None or kept.lowered is None:
        made = [one for one in tried if one.came != "refused" or one.is_futile]
        return Quantized(search.engine, record, is_futile=bool(made) and all(one.is_futile for one in made))
    row = next(row for row, one in zip(rows, tried, strict=True) if one is kept)
    return Quantized(search.engine, record, row, kept.lowered.model, proof, kept.recipe.precision)
