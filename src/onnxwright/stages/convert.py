"""All the verbs in order: a model in, a proven package out."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from onnxwright import backends, environment, evidence, files
from onnxwright.artifact import Package
from onnxwright.backends import Options, Session
from onnxwright.errors import EngineError, ProofError, RouteError, UsageError, accepted
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
from onnxwright.proof.lattice import volume
from onnxwright.reference import Reference, examine, reference_of
from onnxwright.routes import route, routes
from onnxwright.samples import PADDED_RIGHT, TYPICAL
from onnxwright.source import Source
from onnxwright.stages.export import DEFAULT_OPSET, export
from onnxwright.stages.load import load
from onnxwright.stages.measure import Plan as Timing
from onnxwright.stages.measure import measure, shapes
from onnxwright.stages.package import package
from onnxwright.stages.prove import BUDGETS, Plan, prove
from onnxwright.staging import staged

if TYPE_CHECKING:
    from torch import nn

GRAPH = "onnx/model.onnx"
EVIDENCE = "proof/evidence.npz"
VARIANT = "fp32"
PRECISIONS = ("auto", "fp32")
_LARGEST_FILE = 1_900_000_000
_PRIMARY = "onnxruntime"
_TIMED_SECONDS = 12.0


@dataclass(frozen=True)
class Request:
    """What is to be converted, where to, and how."""

    source: str | Path | nn.Module
    out: Path
    example_inputs: Any = None
    dims: Mapping[str, Mapping[int, str]] | None = None
    ranges: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    task: str = "auto"
    route: str = "auto"
    opset: int = DEFAULT_OPSET
    device: str = "cpu"
    engines: tuple[str, ...] = ("auto",)
    precision: str = "auto"
    samples: Path | None = None
    seed: int = 0
    proof: str = "normal"
    is_measured: bool = True
    is_code_trusted: bool = False
    is_forced: bool = False


@dataclass(frozen=True)
class Outcome:
    """One attempt that gave a graph: where it lies, what was shown of it in each engine, its entry in the journal."""

    file: Path
    proofs: Mapping[str, Proof]
    refusals: Mapping[str, str]
    journal: Attempt
    sessions: Mapping[str, Session]

    @property
    def engine(self) -> str:
        """The engine in which the most was shown; the first asked for where several are equal."""
        return max(self.proofs, key=lambda name: _extent(self.proofs[name]))

    @property
    def proof(self) -> Proof:
        """What was shown in that engine."""
        return self.proofs[self.engine]


def convert(request: Request, progress: Progress | None = None) -> Package:
    """Loads, exports, proves, measures and packages a model; the first graph proven on the whole profile wins.

    Raises:
        UsageError: when the call, a file or the machine is at fault.
        ModelError: when the model can't be run, exported or proven; nothing is left in the output folder then.
    """
    progress = progress or Silence()
    _check(request)
    engines = _engines(request)
    with staged(request.out, is_forced=request.is_forced) as folder:
        with progress.stage("load"):
            source = load_request(request)
            _say_source(progress, source)
        with progress.stage("examine"):
            _refuse_what_is_no_function(source)
            reference = reference_of(source, threads=environment.cores(), device=request.device)
        outcomes, journal = _attempt_all(request, source, reference, engines, folder, progress)
        best = _best(outcomes, journal)
        (folder / GRAPH).parent.mkdir(exist_ok=True)
        _keep(best.file, folder / GRAPH)
        measurements: dict[str, Measurement] = {}
        if request.is_measured:
            with progress.stage("measure"):
                measurements = _measure(source, reference, best, folder / GRAPH, request.seed)
        with progress.stage("package"):
            manifest = _manifest(
                request, source, best, journal, measurements, _collect(source, reference, best, folder)
            )
            package(folder, manifest, tokenizer_source=source.folder)
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


def _check(request: Request) -> None:
    if request.precision not in PRECISIONS:
        raise UsageError(
            f"precision '{request.precision}' is unknown; expected {accepted(request.precision, PRECISIONS)}."
        )
    if request.proof not in BUDGETS:
        raise UsageError(f"proof '{request.proof}' is unknown; expected {accepted(request.proof, BUDGETS)}.")
    if request.device not in ("cpu", "cuda"):
        raise UsageError(f"device '{request.device}' is unknown; expected cpu or cuda.")
    if request.device == "cuda" and not _has_cuda():
        raise UsageError("device 'cuda': PyTorch sees no GPU here. Use --device cpu.")
    if request.route != "auto":
        route(request.route, opset=request.opset)
    elif not any(request.opset in one.opsets for one in routes().values()):
        spans = "; ".join(f"{name} {one.opsets[0]} to {one.opsets[-1]}" for name, one in routes().items())
        raise UsageError(f"opset {request.opset}: no route writes it; expected one of: {spans}.")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _engines(request: Request) -> list[str]:
    known = backends.engines()
    if "auto" in request.engines:
        ready = [name for name, backend in known.items() if backend.available() is None]
        if not ready:
            raise EngineError(f"no engine is available here; expected {accepted('', known)}.")
        return sorted(ready, key=lambda name: name != _PRIMARY)
    return [backends.engine(name).name for name in dict.fromkeys(request.engines)]


def _refuse_what_is_no_function(source: Source) -> None:
    blocking = tuple(found for found in examine(source, threads=environment.cores()) if found.blocks_proof)
    if blocking:
        told = " ".join(found.message for found in blocking)
        raise ProofError(
            f"'{source.name}' can't be proven, since it is no function of its inputs. {told}", findings=blocking
        )


def _attempt_all(
    request: Request, source: Source, reference: Reference, engines: Sequence[str], folder: Path, progress: Progress
) -> tuple[list[Outcome], list[Attempt]]:
    outcomes: list[Outcome] = []
    journal: list[Attempt] = []
    for name in _ladder(request, source):
        with progress.stage(name):
            begun = time.monotonic()
            tried = _attempt(name, request, source, reference, engines, folder)
            entry = tried.journal if isinstance(tried, Outcome) else tried
            journal.append(msgspec.structs.replace(entry, seconds=round(time.monotonic() - begun, 2)))
            progress.note(f"{name}: {entry.message}")
        if isinstance(tried, Outcome):
            outcomes.append(tried)
            if _is_complete(tried.proof):
                break
    return outcomes, journal


def _ladder(request: Request, source: Source) -> list[str]:
    if source.graph is not None:
        return ["given"]
    if request.route != "auto":
        return [request.route]
    return [name for name, one in routes().items() if request.opset in one.opsets]


def _attempt(
    name: str, request: Request, source: Source, reference: Reference, engines: Sequence[str], folder: Path
) -> Outcome | Attempt:
    file = folder / "attempts" / name / "model.onnx"
    file.parent.mkdir(parents=True)
    entry = Attempt(route=name, opset=request.opset, verdict="error", message="")
    try:
        findings = _write_graph(name, request, source, file)
    except RouteError as problem:
        return msgspec.structs.replace(entry, message=f"can't export it: {problem}")
    blocking = [found for found in findings if found.blocks_proof]
    if blocking:
        told = "; ".join(f"{found.message} ({found.where})" for found in blocking)
        return msgspec.structs.replace(entry, verdict="failed", message=told, findings=findings)
    sessions, refusals = _prepare(engines, file)
    if not sessions:
        return msgspec.structs.replace(entry, message="; ".join(refusals.values()), findings=findings)
    plan = Plan(source.profile, source.traced, BUDGETS[request.proof], request.seed)
    proofs = prove(reference, sessions, source.sampler, plan)
    outcome = Outcome(file, proofs, refusals, entry, sessions)
    return replace(outcome, journal=_entry(outcome, findings))


def _write_graph(name: str, request: Request, source: Source, file: Path) -> tuple[Finding, ...]:
    import onnx_ir

    if source.graph is not None:
        model, findings = onnx_ir.load(source.graph), ()
    else:
        exported = export(source, route_name=name, opset=request.opset)
        model, findings = exported.model, exported.findings
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    onnx_ir.save(model, file, external_data=files.data_file(file).name if size > _LARGEST_FILE else None)
    return findings


def _prepare(engines: Sequence[str], file: Path) -> tuple[dict[str, Session], dict[str, str]]:
    sessions: dict[str, Session] = {}
    refusals: dict[str, str] = {}
    for name in engines:
        try:
            sessions[name] = backends.engine(name).prepare(file, Options(environment.cores()))
        except EngineError as refusal:
            refusals[name] = str(refusal)
    return sessions, refusals


def _entry(outcome: Outcome, findings: tuple[Finding, ...]) -> Attempt:
    proof = outcome.proof
    wrong = [found.message for found in proof.findings if found.code in ("outputs-differ", "range-narrowed")]
    message = " ".join([f"{proof.verdict} at {proof.points} points.", *wrong])
    return msgspec.structs.replace(
        outcome.journal,
        verdict=proof.verdict,
        message=message,
        range=proof.range,
        findings=(*findings, *proof.findings),
    )


def _is_complete(proof: Proof) -> bool:
    """Whether no other route could do better: all of the profile, or all that the model itself takes."""
    return proof.verdict != "failed" and not any(found.code == "outputs-differ" for found in proof.findings)


def _best(outcomes: Sequence[Outcome], journal: Sequence[Attempt]) -> Outcome:
    shown = [outcome for outcome in outcomes if outcome.proof.verdict != "failed"]
    if not shown:
        told = "\n".join(f"  {entry.route}: {entry.message}" for entry in journal)
        findings = tuple(found for entry in journal for found in entry.findings)
        raise ProofError(
            f"no route gives a graph that is shown right:\n{told}", findings=findings, attempts=tuple(journal)
        )
    return max(shown, key=lambda outcome: _extent(outcome.proof))


def _extent(proof: Proof) -> tuple[bool, float]:
    sizes = math.prod(high - low + 1 for low, high in proof.range.values())
    return proof.verdict == "proven", sizes if proof.verdict != "failed" else 0


def _keep(file: Path, place: Path) -> None:
    for one in file.parent.iterdir():
        shutil.move(one, place.with_name(one.name))
    shutil.rmtree(file.parents[1])


def _measure(source: Source, reference: Reference, best: Outcome, file: Path, seed: int) -> dict[str, Measurement]:
    within = _narrowed(source.profile, best.proof.range)
    feeds = [(sizes, source.sampler.draw(sizes, TYPICAL, seed=seed)) for sizes in shapes(within)]
    with _baseline(source, reference) as baseline:
        sessions = {baseline.ran.backend: baseline, **_shown(best), **_lowered(best, file)}
        return measure(sessions, feeds, baseline=baseline.ran.backend, plan=Timing(seconds=_TIMED_SECONDS, seed=seed))


@contextlib.contextmanager
def _baseline(source: Source, reference: Reference) -> Iterator[Session]:
    if source.module is None:
        yield reference.session
        return
    from onnxwright.modules import evaluation
    from onnxwright.pytorch import UnguardedSession

    with evaluation(source.module):
        ran = reference.session.ran
        yield UnguardedSession(source.module, source.signature, threads=ran.threads, device=ran.provider)


def _shown(best: Outcome) -> dict[str, Session]:
    return {name: best.sessions[name] for name, proof in best.proofs.items() if proof.verdict != "failed"}


def _lowered(best: Outcome, file: Path) -> dict[str, Session]:
    """Sessions that execute the same file in a lower precision, where an engine and this machine can."""
    lowered: dict[str, Session] = {}
    for name in _shown(best):
        backend = backends.engine(name)
        for precision in backend.precisions:
            if precision != "float32":
                with contextlib.suppress(EngineError):
                    lowered[f"{name} {precision}"] = backend.prepare(file, Options(environment.cores(), precision))
    return lowered


def _narrowed(profile: Profile, ranges: Mapping[str, tuple[int, int]]) -> Profile:
    return Profile({dim: (low, min(max(profile[dim].usual, low), high), high) for dim, (low, high) in ranges.items()})


def _collect(source: Source, reference: Reference, best: Outcome, folder: Path) -> Evidence:
    ends = _narrowed(source.profile, best.proof.range)
    small = {dim: min(sizes.most, max(sizes.least, 3 + place)) for place, (dim, sizes) in enumerate(ends.items())}
    wanted = [ends.least, small, *({**ends.least, dim: ends[dim].most} for dim in ends)]
    distinct = sorted({tuple(sizes.items()): sizes for sizes in wanted}.values(), key=volume)
    feeds = [source.sampler.draw(sizes, values, seed=7) for sizes in distinct for values in (TYPICAL, PADDED_RIGHT)]
    points = evidence.collect(reference.session, feeds)
    (folder / EVIDENCE).parent.mkdir(exist_ok=True)
    evidence.save(points, folder / EVIDENCE)
    return Evidence(EVIDENCE, files.digest(folder / EVIDENCE), len(points))


def _manifest(
    request: Request,
    source: Source,
    best: Outcome,
    journal: Sequence[Attempt],
    measurements: Mapping[str, Measurement],
    kept: Evidence,
) -> Manifest:
    sha256 = best.sessions[best.engine].ran.sha256
    assert sha256 is not None
    variant = Variant(
        file=GRAPH,
        precision=best.sessions[best.engine].ran.precision,
        sha256=sha256,
        proof=best.proof,
        engines=_engine_proofs(best),
        measurements=tuple(measurements.values()),
    )
    return Manifest(
        signature=source.signature,
        profile={dim: tuple(sizes) for dim, sizes in source.profile.items()},
        proof=best.proof,
        findings=(*source.findings, *best.journal.findings),
        attempts=tuple(journal),
        variants={VARIANT: variant},
        default=Default(VARIANT, _fastest(best, measurements)),
        lineage=tuple(_lineage(request, source, best, sha256)),
        environment=environment.describe(),
        task=source.task,
        task_options=dict(source.task_options),
        evidence=kept,
    )


def _engine_proofs(best: Outcome) -> dict[str, EngineProof]:
    shown = {name: EngineProof(executed=True, proof=proof) for name, proof in best.proofs.items()}
    return {
        **shown,
        **{name: EngineProof(executed=False, proof=None, message=why) for name, why in best.refusals.items()},
    }


def _fastest(best: Outcome, measurements: Mapping[str, Measurement]) -> str:
    """The engine with the greatest speed-up at the usual size, of those in which the whole range was shown."""
    whole = [name for name, proof in best.proofs.items() if _extent(proof) == _extent(best.proof)]
    return max(whole, key=lambda name: measurements[name].latencies[-1].speedup if name in measurements else 0.0)


def _lineage(request: Request, source: Source, best: Outcome, sha256: str) -> Iterator[Step]:
    yield Step("load", {"source": source.name, **source.details})
    if source.graph is None:
        sizes = dict(source.traced)
        yield Step(
            "export", {"route": best.journal.route, "opset": best.journal.opset, "sizes": sizes, "sha256": sha256}
        )
    yield Step("prove", {"reference": best.proof.reference, "points": best.proof.points, "seed": request.seed})


def _say_source(progress: Progress, source: Source) -> None:
    told = ", ".join(f"{spec.name} {spec}" for spec in source.signature.inputs)
    progress.note(f"inputs: {told}")
    for found in source.findings:
        progress.note(found.message)
