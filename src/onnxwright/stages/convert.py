"""All the verbs in order: a model in, a proven package out."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from onnxwright import environment, evidence, files, heap
from onnxwright.artifact import Package
from onnxwright.corpus import Corpus, corpus_of
from onnxwright.errors import UsageError
from onnxwright.files import MOST_IN_ONE_FILE
from onnxwright.findings import Finding
from onnxwright.manifest import (
    EXPORTED,
    Attempt,
    Evidence,
    Manifest,
    Step,
    Variant,
)
from onnxwright.progress import Progress, Silence
from onnxwright.records import ARRAYS
from onnxwright.reference import reference_of
from onnxwright.source import Source
from onnxwright.stages.attempt import GIVEN, Outcome, Workbench
from onnxwright.stages.build import ENGINES, Limits, blueprint_of, told_of, write_engine
from onnxwright.stages.examine import asked_of, drawn_like, examined, rows_of, with_compared_numbers
from onnxwright.stages.load import load
from onnxwright.stages.optimize import optimize
from onnxwright.stages.package import package
from onnxwright.stages.quantize import quantize
from onnxwright.stages.repair import best, repair_all
from onnxwright.stages.repro import save_first, tell_repro
from onnxwright.stages.request import Request, built_engines, proving_engines
from onnxwright.stages.variants import GRAPH, Variants, measured, variants_of
from onnxwright.staging import staged
from onnxwright.watching import memory
from onnxwright.words import in_bytes

EVIDENCE: Final = "proof/evidence.npz"


def convert(request: Request, progress: Progress | None = None) -> Package:
    """Loads, exports, proves, measures and packages a model; the first graph proven on the whole profile wins.

    Raises:
        UsageError: when the call, a file or the machine is at fault.
        ModelError: when the model can't be run, exported or proven; nothing is left in the output folder then.
    """
    progress = progress or Silence()
    request.check()
    engines = proving_engines(request.engines)
    with staged(request.out, is_forced=request.is_forced) as folder, contextlib.ExitStack() as meanwhile:
        with progress.stage("load"):
            source = load_request(_with_outputs(request, folder))
            _check_single_file(request, source)
            _tell(source, progress)
            meanwhile.enter_context(_as_written(source))
        with progress.stage("examine"):
            bench = _workbench(request, source, engines, folder)
            corpus = _corpus(request, bench.source)
            if corpus is not None and request.samples is not None:
                bench = replace(bench, source=drawn_like(bench.source, corpus))
        meanwhile.enter_context(heap.at_rest())
        outcomes = repair_all(bench, progress)
        if request.repro is not None:
            _save_repro(outcomes, bench.source, request.repro, progress)
        chosen = best(outcomes, bench.source)
        _keep(chosen.file, folder / GRAPH)
        optimized = optimize(bench, chosen, folder / GRAPH, progress) if request.is_optimized else []
        lowered, told = quantize(bench, chosen, folder / GRAPH, corpus, progress) if corpus is not None else ([], ())
        bench = replace(bench, source=_with_findings(bench.source, told))
        made = variants_of(bench, chosen, optimized, lowered)
        if request.is_measured:
            with progress.stage("measure"):
                made = measured(bench, made)
        _build_engines(bench, chosen, progress)
        with progress.stage("package"):
            kept = _keep_evidence(bench, chosen)
            journal = [outcome.journal for outcome in outcomes]
            package(folder, _manifest(bench, chosen, journal, made, kept), tokenizer_source=source.folder)
    return Package.open(request.out)


def _workbench(request: Request, source: Source, engines: Sequence[str], folder: Path) -> Workbench:
    """Finds out about a source all that every attempt needs to know."""
    memory.check(source, candidates=len(engines), available=environment.free_memory())
    source = with_compared_numbers(_with_findings(source, examined(source)))
    asked = asked_of(source)
    reference = reference_of(source, threads=environment.cores(), device=request.device)
    source = _with_findings(source, rows_of(source, reference))
    return Workbench(request, source, reference, engines, folder, asked, built_engines(request.engines))


def _with_findings(source: Source, findings: Iterable[Finding]) -> Source:
    return replace(source, findings=(*source.findings, *findings))


def _as_written(source: Source) -> contextlib.AbstractContextManager[None]:
    """Has parts that `torch.compile` has wrapped be as they were."""
    if source.module is None:
        return contextlib.nullcontext()
    from onnxwright.pytorch.uncompiled import parts_as_written

    return parts_as_written(source.module)


def _with_outputs(request: Request, folder: Path) -> Request:
    """Returns the request for a graph that has only the outputs to keep, where some are named."""
    if not request.outputs:
        return request
    from onnxwright.graph.saving import save_model
    from onnxwright.graph.simplifying import keep_outputs
    from onnxwright.loaders.onnxfile import read

    file = folder / "attempts" / Path(str(request.source)).name
    file.parent.mkdir(exist_ok=True)
    given = read(environment.at_home(str(request.source)))
    save_model(keep_outputs(given, request.outputs), file)
    return replace(request, source=file)


def load_request(request: Request) -> Source:
    """Loads what a request names."""
    return load(
        request.source,
        example_inputs=request.example_inputs,
        dims=request.dims,
        ranges=request.ranges,
        task=request.task,
        samples=None if _are_arrays_to_judge_by(request) else request.samples,
        is_code_trusted=request.is_code_trusted,
    )


def _are_arrays_to_judge_by(request: Request) -> bool:
    """Whether the samples are arrays of many inputs, to lower the precision by, and not one input of a certain size."""
    return request.lowers_precision and request.samples is not None and request.samples.suffix == ARRAYS


def _corpus(request: Request, source: Source) -> Corpus | None:
    """The samples to lower the precision by, looked at before any work begins."""
    if not request.lowers_precision:
        return None
    return corpus_of(source, request.samples, request.labels, seed=request.seed)


def _save_repro(outcomes: Sequence[Outcome], source: Source, folder: Path, progress: Progress) -> None:
    found = (save_first(one.proofs, one.sessions, one.source or source, one.file, folder) for one in outcomes)
    tell_repro(next(filter(None, found), None), folder, progress)


def _check_single_file(request: Request, source: Source) -> None:
    """Refuses to put more weights into one file than it holds."""
    if not request.is_single_file:
        return
    if source.graph is not None:
        size = files.size_of(source.graph)
    else:
        assert source.module is not None, "a source is one of the two"
        size = sum(weight.nbytes for weight in {*source.module.parameters(), *source.module.buffers()})
    if size > MOST_IN_ONE_FILE:
        raise UsageError(
            f"--single-file: one file holds {in_bytes(MOST_IN_ONE_FILE)} of weights at most, got {in_bytes(size)}. "
            "Leave it out: they come into a file beside the graph."
        )


def _tell(source: Source, progress: Progress) -> None:
    progress.note("inputs: " + ", ".join(f"{spec.name} {spec}" for spec in source.signature.inputs))
    for found in source.findings:
        progress.note(found.message)


def _build_engines(bench: Workbench, chosen: Outcome, progress: Progress) -> None:
    """Builds the engines that can't be run here, of the graph that the package holds and for the range shown of it."""
    source = chosen.source or bench.source
    for name in chosen.built:
        with progress.stage(f"build {name}"):
            place = bench.folder / ENGINES / name
            place.mkdir(parents=True)
            limits = Limits(earlier=chosen.built[name].sha256)
            built = write_engine(name, blueprint_of(bench.folder / GRAPH, source, chosen.proof, limits), place)
            progress.note(f"{name}: {told_of(built)}")


def _keep(file: Path, place: Path) -> None:
    place.parent.mkdir()
    for one in file.parent.iterdir():
        shutil.move(one, place.with_name(one.name))
    shutil.rmtree(file.parents[1])


def _keep_evidence(bench: Workbench, chosen: Outcome) -> Evidence:
    shown = [chosen.proof, *(proof for proof in chosen.proofs.values() if proof.verdict != "failed")]
    ranges = [bench.source.profile.within(proof.range) for proof in shown]
    source = chosen.source or bench.source
    kept = evidence.collect(bench.reference, source.sampler, ranges, chosen.proof.tolerance.limits)
    file = bench.folder / EVIDENCE
    file.parent.mkdir()
    evidence.save(kept, file)
    return Evidence(EVIDENCE, files.digest(file), len(kept.points))


def _manifest(
    bench: Workbench, chosen: Outcome, journal: Sequence[Attempt], made: Variants, kept: Evidence
) -> Manifest:
    source = bench.source
    return Manifest(
        signature=source.signature,
        profile={dim: (sizes.least, sizes.usual, sizes.most) for dim, sizes in source.profile.items()},
        proof=made.by_name[made.default.variant].proof,
        findings=tuple(dict.fromkeys((*source.findings, *chosen.journal.findings, *_left_out(chosen)))),
        attempts=tuple(journal),
        variants=dict(made.by_name),
        default=made.default,
        optimizations=dict(made.optimizations),
        quantizations=dict(made.quantizations),
        lineage=tuple(_lineage(bench, chosen, made.by_name[EXPORTED])),
        environment=environment.describe(),
        task=source.task,
        task_options=dict(source.task_options),
        evidence=kept,
    )


def _left_out(chosen: Outcome) -> Iterator[Finding]:
    """Says of each engine that can't be used with this package, or wasn't, why."""
    for name, built in chosen.built.items():
        yield Finding("engine-not-executed", f"{name}: {told_of(built)}")
    for name, reason in chosen.refusals.items():
        yield Finding("engine-not-proven", f"{name}: {reason}")
    for name, proof in chosen.proofs.items():
        if proof.verdict == "failed":
            told = " ".join(
                found.message for found in proof.findings if found.blocks_proof or found.code == "outputs-differ"
            )
            yield Finding("engine-not-proven", f"{name}: {told}")


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
