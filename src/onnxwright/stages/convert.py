"""All the verbs in order: a model in, a proven package out."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from onnxwright import backends, environment, evidence, files
from onnxwright.artifact import Package
from onnxwright.backends import Options, Session
from onnxwright.errors import EngineError
from onnxwright.findings import Finding
from onnxwright.manifest import (
    Attempt,
    Default,
    EngineProof,
    Evidence,
    Manifest,
    Measurement,
    Proof,
    Step,
    Variant,
)
from onnxwright.profile import Profile
from onnxwright.progress import Progress, Silence
from onnxwright.reference import reference_of
from onnxwright.samples import TYPICAL
from onnxwright.source import Source
from onnxwright.stages import measure as measuring
from onnxwright.stages.attempt import GIVEN, Outcome, Workbench
from onnxwright.stages.examine import asked_of, examined, rows_of, with_compared_numbers
from onnxwright.stages.load import load
from onnxwright.stages.package import package
from onnxwright.stages.repair import best, repair_all
from onnxwright.stages.repro import save_first, tell_repro
from onnxwright.stages.request import Request, ready_engines
from onnxwright.staging import staged
from onnxwright.watching import memory

GRAPH: Final = "onnx/model.onnx"
EVIDENCE: Final = "proof/evidence.npz"
VARIANT: Final = "fp32"
_TIMED_SECONDS = 12.0


def convert(request: Request, progress: Progress | None = None) -> Package:
    """Loads, exports, proves, measures and packages a model; the first graph proven on the whole profile wins.

    Raises:
        UsageError: when the call, a file or the machine is at fault.
        ModelError: when the model can't be run, exported or proven; nothing is left in the output folder then.
    """
    progress = progress or Silence()
    request.check()
    engines = ready_engines(request.engines)
    with staged(request.out, is_forced=request.is_forced) as folder:
        with progress.stage("load"):
            source = load_request(request)
            _tell(source, progress)
        with progress.stage("examine"):
            memory.check(source, candidates=len(engines), available=environment.free_memory())
            source = replace(source, findings=(*source.findings, *examined(source)))
            source = with_compared_numbers(source)
            asked = asked_of(source)
            reference = reference_of(source, threads=environment.cores(), device=request.device)
            source = replace(source, findings=(*source.findings, *rows_of(source, reference)))
        bench = Workbench(request, source, reference, engines, folder, asked)
        outcomes = repair_all(bench, progress)
        if request.repro is not None:
            _save_repro(outcomes, source, request.repro, progress)
        chosen = best(outcomes, source)
        _keep(chosen.file, folder / GRAPH)
        measurements: dict[str, Measurement] = {}
        if request.is_measured:
            with progress.stage("measure"):
                measurements = _measure(bench, chosen)
        with progress.stage("package"):
            kept = _keep_evidence(bench, chosen)
            journal = [outcome.journal for outcome in outcomes]
            package(folder, _manifest(bench, chosen, journal, measurements, kept), tokenizer_source=source.folder)
    return Package.open(request.out)


def load_request(request: Request) -> Source:
    """Loads what a request names."""
    return load(
        request.source,
        example_inputs=request.example_inputs,
        dims=request.dims,
        ranges=request.ranges,
        task=request.task,
        samples=request.samples,
        is_code_trusted=request.is_code_trusted,
    )


def _save_repro(outcomes: Sequence[Outcome], source: Source, folder: Path, progress: Progress) -> None:
    found = (save_first(one.proofs, one.sessions, one.source or source, one.file, folder) for one in outcomes)
    tell_repro(next(filter(None, found), None), folder, progress)


def _tell(source: Source, progress: Progress) -> None:
    progress.note("inputs: " + ", ".join(f"{spec.name} {spec}" for spec in source.signature.inputs))
    for found in source.findings:
        progress.note(found.message)


def _keep(file: Path, place: Path) -> None:
    place.parent.mkdir()
    for one in file.parent.iterdir():
        shutil.move(one, place.with_name(one.name))
    shutil.rmtree(file.parents[1])


def _measure(bench: Workbench, chosen: Outcome) -> dict[str, Measurement]:
    source, seed = bench.source, bench.request.seed
    within = _narrowed(source.profile, chosen.proof)
    feeds = [(sizes, source.sampler.draw(sizes, TYPICAL, seed=seed)) for sizes in measuring.shapes(within)]
    with _baseline(bench) as baseline:
        name = baseline.ran.backend if source.graph is None else baseline.ran.provider
        sessions = {name: baseline, **_prepared(chosen, bench.folder / GRAPH)}
        plan = measuring.Plan(seconds=_TIMED_SECONDS, seed=seed)
        return measuring.measure(sessions, feeds, baseline=name, plan=plan)


@contextlib.contextmanager
def _baseline(bench: Workbench) -> Iterator[Session]:
    """The reference as a user would call it: for a module, without what makes each call start from one state."""
    source, ran = bench.source, bench.reference.session.ran
    if source.module is None:
        yield bench.reference.session
        return
    from onnxwright.pytorch.modules import as_called
    from onnxwright.pytorch.session import UnguardedSession

    with as_called(source.module):
        yield UnguardedSession(source.module, source.signature, threads=ran.threads, device=ran.provider)


def _prepared(chosen: Outcome, file: Path) -> dict[str, Session]:
    """Sessions of the engines that were shown right, as a user has them, and in the lower precisions they can."""
    sessions: dict[str, Session] = {}
    for name in (name for name, proof in chosen.proofs.items() if proof.verdict != "failed"):
        backend = backends.engine(name)
        for precision in backend.precisions:
            called = name if precision == "float32" else f"{name} {precision}"
            with contextlib.suppress(EngineError):
                sessions[called] = backend.prepare(file, Options(environment.cores(), precision))
    return sessions


def _narrowed(profile: Profile, proof: Proof) -> Profile:
    ranges = proof.range.items()
    return Profile({dim: (low, min(max(profile[dim].usual, low), high), high) for dim, (low, high) in ranges})


def _keep_evidence(bench: Workbench, chosen: Outcome) -> Evidence:
    shown = [chosen.proof, *(proof for proof in chosen.proofs.values() if proof.verdict != "failed")]
    ranges = [_narrowed(bench.source.profile, proof) for proof in shown]
    source = chosen.source or bench.source
    kept = evidence.collect(bench.reference, source.sampler, ranges, chosen.proof.tolerance.limits)
    file = bench.folder / EVIDENCE
    file.parent.mkdir()
    evidence.save(kept, file)
    return Evidence(EVIDENCE, files.digest(file), len(kept.points))


def _manifest(
    bench: Workbench,
    chosen: Outcome,
    journal: Sequence[Attempt],
    measurements: Mapping[str, Measurement],
    kept: Evidence,
) -> Manifest:
    source = bench.source
    variant = Variant(
        file=GRAPH,
        precision=chosen.ran[chosen.engine].precision,
        sha256=files.digest(bench.folder / GRAPH),
        proof=chosen.proof,
        engines=_engine_proofs(chosen),
        measurements=tuple(measurements.values()),
    )
    return Manifest(
        signature=source.signature,
        profile={dim: (sizes.least, sizes.usual, sizes.most) for dim, sizes in source.profile.items()},
        proof=chosen.proof,
        findings=tuple(dict.fromkeys((*source.findings, *chosen.journal.findings, *_left_out(chosen)))),
        attempts=tuple(journal),
        variants={VARIANT: variant},
        default=Default(VARIANT, _fastest(chosen, measurements)),
        lineage=tuple(_lineage(bench, chosen, variant)),
        environment=environment.describe(),
        task=source.task,
        task_options=dict(source.task_options),
        evidence=kept,
    )


def _engine_proofs(chosen: Outcome) -> dict[str, EngineProof]:
    shown = {name: EngineProof(executed=True, proof=proof) for name, proof in chosen.proofs.items()}
    refused = {
        name: EngineProof(executed=False, proof=None, message=reason) for name, reason in chosen.refusals.items()
    }
    return {**shown, **refused}


def _left_out(chosen: Outcome) -> Iterator[Finding]:
    """Says of each engine that can't be used with this package why."""
    for name, reason in chosen.refusals.items():
        yield Finding("engine-not-proven", f"{name}: {reason}")
    for name, proof in chosen.proofs.items():
        if proof.verdict == "failed":
            told = " ".join(
                found.message for found in proof.findings if found.blocks_proof or found.code == "outputs-differ"
            )
            yield Finding("engine-not-proven", f"{name}: {told}")


def _fastest(chosen: Outcome, measurements: Mapping[str, Measurement]) -> str:
    """The engine with the greatest speed-up at the usual size, of those in which as much was shown as in any."""
    widest = [name for name, proof in chosen.proofs.items() if proof.extent == chosen.proof.extent]
    return max(widest, key=lambda name: measurements[name].latencies[-1].speedup if name in measurements else 0.0)


def _lineage(bench: Workbench, chosen: Outcome, variant: Variant) -> Iterator[Step]:
    journal = chosen.journal
    yield Step("load", {"source": bench.source.name, **bench.source.details})
    if journal.route != GIVEN:
        sizes = dict(bench.source.traced)
        how = {"route": journal.route, "opset": journal.opset, "repairs": list(journal.repairs)}
        yield Step("export", {**how, "sizes": sizes, "sha256": variant.sha256})
    yield Step(
        "prove", {"reference": chosen.proof.reference, "points": chosen.proof.points, "seed": bench.request.seed}
    )
