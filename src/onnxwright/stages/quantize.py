"""Lowers the precision of a graph for each engine, and keeps what stays within the budget and is faster there.

```
  recipes ──► made, with what is too costly left in float32 ──► within the budget on half of the samples?
                                                                        │ yes
       a variant ◄── proof ◄── within the budget on the other half? ◄── measured side by side: the fastest first
```
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnxwright import environment
from onnxwright.backends import Options, Session
from onnxwright.corpus import Corpus
from onnxwright.errors import ProofError
from onnxwright.findings import Finding
from onnxwright.losses import loss_of
from onnxwright.manifest import Came, Candidate, Latency, Optimization, Proof, Quantization
from onnxwright.progress import Progress
from onnxwright.recipes import AUTO, Material, recipes_for
from onnxwright.stages.attempt import Outcome, Workbench
from onnxwright.stages.lowering.anew import anew
from onnxwright.stages.lowering.candidates import mended, of_recipe
from onnxwright.stages.lowering.judging import held, judged
from onnxwright.stages.lowering.rewriting import faster
from onnxwright.stages.lowering.scoring import Scoring
from onnxwright.stages.lowering.search import Search
from onnxwright.stages.lowering.tried import Tried, foremost, nearly_foremost, told_of, unmet
from onnxwright.stages.trials import AT_ONCE, CONTROL, Trials, shortfall, shows_as_much, told_speed

if TYPE_CHECKING:
    import onnx_ir

_SECONDS: Final = 12.0
"""For the measurement of all candidates of an engine."""
_LEAST_PROOFS: Final = 4
"""So many are tried to be proven, even after the time for the search; then one more, that which loses least."""


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
            found.append(_for_engine(Search(bench, chosen, file, name, scoring, budget, deadline, material), progress))
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
    from onnx_ir.passes.common import InlinePass

    from onnxwright.graph.reading import read_model
    from onnxwright.graph.saving import saved

    def load(model: onnx_ir.Model, *, is_optimized: bool = True) -> Session:
        from onnxwright.backends.onnxruntime import OnnxRuntimeSession

        bench.reference.rest()
        with saved(model, file.name, bench.folder) as place:
            return OnnxRuntimeSession(place, Options(environment.cores()), is_optimized=is_optimized)

    model = read_model(file)
    InlinePass()(model)  # what is in functions is lowered like the rest
    given = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    model.graph.inputs[:] = given  # older files list weights, which are no inputs of a package
    return Material(model, load, scoring.calibration, bench.request.seed, bench.request.lowers_io)


def _for_engine(search: Search, progress: Progress) -> Quantized:
    # Those with islands last: they are judged node by node, which takes the longest.
    recipes = sorted(recipes_for(search.bench.request.precision), key=lambda recipe: recipe.has_islands)
    tried = mended(search, [one for recipe in recipes for one in of_recipe(search, recipe)])
    for one in tried:
        progress.note(f"{search.engine}: {one.name}: {one.told}")
    found = {one.name: one for one in _measured(search, tried)}
    proofs = 0
    while ready := [one for one in found.values() if one.is_within and one.came == "not the fastest"]:
        is_last = proofs >= _LEAST_PROOFS and time.monotonic() > search.deadline
        one = min(ready, key=lambda one: one.lost) if is_last else foremost(ready)
        session = search.loaded(one)
        verdict, proof = judged(search, one, session), None
        if not verdict.message:
            proof, proofs = held(search, verdict, session), proofs + 1
            if shows_as_much(proof, search.shown):
                del session  # for what is made of it
                return _rewritten(search, found, verdict, proof)
            verdict = replace(verdict, came="not shown right", message=shortfall(proof))
            search = search.having_seen(proof)
        found[one.name] = verdict
        if is_last:
            break
        del session  # for what is made anew
        is_short_of_time = proof is not None and not proof.failures
        other = None if one.anew or is_short_of_time else anew(search, verdict)
        if other is not None:
            found[one.name] = _measured(search, [other])[0]
    return _concluded(search, [*found.values()], None, None)


def _rewritten(search: Search, tried: Mapping[str, Tried], kept: Tried, proof: Proof) -> Quantized:
    """Concludes with what is kept, rewritten for the engine where that is faster still."""
    found = faster(search, kept, proof)
    last = found.kept if found.kept is kept else _measured(search, [found.kept])[0]
    return _concluded(search, [*{**tried, kept.name: last}.values()], last, found.proof, found.record)


def _measured(search: Search, tried: Sequence[Tried]) -> list[Tried]:
    """The candidates with how they compare with the graph as exported, unless nothing is to be measured.

    Those that lose too much are measured only where nothing is within the budget, to show what more would buy.
    """
    within = [one for one in tried if one.is_within] or [one for one in tried if one.lowered is not None]
    if not search.is_measured or not within:
        return list(tried)
    trials = Trials.of(search.bench, search.chosen, search.engine, search.file)
    groups = [within[start : start + AT_ONCE] for start in range(0, len(within), AT_ONCE)]
    share = _SECONDS / len(within)
    timed = {one.name: one for group in groups for one in _compared(search, trials, group, share * len(group))}
    together = set[str]()
    for _ in groups[1:] if search.is_auto else ():
        # Groups are measured at different times: what leads by little is held against the others side by side.
        close = nearly_foremost([one for one in timed.values() if one.came == "not the fastest"])[:AT_ONCE]
        names = {one.name for one in close}
        if len(close) < 2 or names <= together:
            break
        timed |= {one.name: one for one in _compared(search, trials, close, share * len(close))}
        together |= names
    return [timed.get(one.name, one) for one in tried]


def _compared(search: Search, trials: Trials, group: Sequence[Tried], seconds: float) -> Iterator[Tried]:
    """Candidates that are in memory together for as long as they are measured."""
    found = trials.latencies({one.name: search.loaded(one) for one in group}, seconds)
    return (_timed(search, one, found[one.name], found[CONTROL]) for one in group)


def _timed(search: Search, one: Tried, latencies: tuple[Latency, ...], control: tuple[Latency, ...]) -> Tried:
    came: Came = told_speed(latencies, control) if search.is_auto else "not the fastest"
    return replace(one, latencies=latencies, came=came if one.is_within else one.came)


def _concluded(
    search: Search,
    tried: Sequence[Tried],
    kept: Tried | None,
    proof: Proof | None,
    rewriting: Optimization | None = None,
) -> Quantized:
    rows = [one.concluded(kept, is_measured=search.is_measured) for one in tried]
    told = told_of(tried, kept, search.budget)
    scoring = search.scoring
    record = Quantization(
        told=told,
        variant=None,
        asked=search.bench.request.precision,
        budget=search.budget,
        measure=next((one.judged.told for one in tried if one.judged is not None), scoring.loss.told),
        samples=scoring.corpus.origin,
        calibrating=len(scoring.calibration),
        judging=len(scoring.corpus.judged),
        is_measured=search.is_measured,
        candidates=tuple(rows),
        instructions=environment.instructions(),
        rewriting=rewriting,
    )
    if kept is None or kept.lowered is None:
        made = [one for one in tried if one.came != "refused" or one.is_futile]
        return Quantized(search.engine, record, is_futile=bool(made) and all(one.is_futile for one in made))
    row = next(row for row, one in zip(rows, tried, strict=True) if one is kept)
    return Quantized(search.engine, record, row, kept.lowered.model, proof, kept.recipe.precision)
