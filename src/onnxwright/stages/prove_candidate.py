"""Holds an ONNX graph that was made anywhere against the model that it is said to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from onnxwright import environment
from onnxwright.artifact import Package
from onnxwright.errors import SignatureError
from onnxwright.findings import Finding
from onnxwright.loaders.onnxfile import element_types
from onnxwright.manifest import Proof, Tolerance
from onnxwright.progress import Progress
from onnxwright.proof.prove import prove
from onnxwright.reference import Reference, reference_of
from onnxwright.routes import Noted
from onnxwright.signature import TensorSpec
from onnxwright.source import Source
from onnxwright.stages.attempt import prepare
from onnxwright.stages.examine import asked_of, examined, looked_into, plan_of
from onnxwright.stages.explain import with_evidence
from onnxwright.stages.load import load, require_onnx
from onnxwright.stages.locate import located
from onnxwright.stages.question import Question
from onnxwright.stages.repro import save_first, tell_repro
from onnxwright.stages.request import ready_engines
from onnxwright.stages.verdicts import Verdicts
from onnxwright.tolerance import SAME_PRECISION
from onnxwright.watching import memory


def prove_candidate(question: Question, progress: Progress) -> Verdicts:
    """Holds a candidate against its source in each engine; an engine that refuses it has failed.

    Raises:
        UsageError: when the source, the candidate or an engine can't be had.
        SignatureError: when the candidate has other inputs or outputs, or of other types.
        ModelError: when the source can't be run, or is no function of its inputs.
    """
    engines = ready_engines(question.engines)
    require_onnx()
    file = question.graph()
    inputs, outputs = element_types(file)
    with progress.stage("load"):
        source = _load(question)
        _check("input", inputs, source.signature.inputs, file)
        _check("output", outputs, source.signature.outputs, file)
    with progress.stage("examine"):
        source = dataclasses.replace(source, findings=(*source.findings, *examined(source)))
        memory.check(source, candidates=len(engines), available=environment.free_memory())
        asked = asked_of(source)
        reference = reference_of(source, threads=environment.cores(), device=question.device)
    with progress.stage("prove"):
        sessions, refusals = prepare(engines, file, source, allows_fallback=question.allows_fallback)
        plan = plan_of(source, asked, proof=question.proof, seed=question.seed)
        source, seen = looked_into(file, source, plan)
        found = prove(reference, sessions, source.sampler, plan) if sessions else {}
    with progress.stage("explain"):
        found = {
            name: with_evidence(source, asked, proof, Noted(seen), origin="given")
            for name, proof in located(found, sessions, source, file).items()
        }
        if question.repro is not None:
            tell_repro(save_first(found, sessions, source, file, question.repro), question.repro, progress)
    shown = {name: replace(proof, findings=(*source.findings, *proof.findings)) for name, proof in found.items()}
    refused = {name: _refused(name, reason, reference) for name, reason in refusals.items()}
    return Verdicts(
        source.name, dict.fromkeys(engines, plan.whole), {name: {**shown, **refused}[name] for name in engines}
    )


def _load(question: Question) -> Source:
    """Loads the source; of a package it is the graph, over the range that was proven of it."""
    source, ranges = question.source, question.ranges
    if question.package is not None:
        package = Package.open(question.package)
        source = package.file()
        ranges = {**package.profile.within(package.proof.range), **ranges}
    return load(
        source,
        example_inputs=question.example_inputs,
        dims=question.dims,
        ranges=ranges,
        task=question.task,
        samples=question.samples,
        is_code_trusted=question.is_code_trusted,
    )


def _check(kind: str, given: Mapping[str, str], specs: tuple[TensorSpec, ...], file: Path) -> None:
    expected = {spec.name: spec.dtype for spec in specs}
    missing = [f"missing {name!r}" for name in expected if name not in given]
    extra = [f"unexpected {name!r}" for name in given if name not in expected]
    if missing or extra:
        raise SignatureError(
            f"candidate '{file}': {kind}s: expected {', '.join(expected)}; {', '.join(missing + extra)}. "
            "Export it with the names of the source, or rename them in the file."
        )
    for name, dtype in expected.items():
        if given[name] != dtype:
            raise SignatureError(
                f"candidate '{file}': {kind} '{name}': expected {dtype}, got {given[name]}. "
                "Cast it in the graph, or give a source that has this type."
            )


def _refused(engine: str, reason: str, reference: Reference) -> Proof:
    """A graph that an engine can't run is not shown to be anything in it."""
    return Proof(
        verdict="failed",
        range={},
        points=0,
        worst=None,
        tolerance=Tolerance(SAME_PRECISION.name, {}, {}, reference.origin),
        reference=reference.label,
        candidate=engine,
        findings=(Finding("engine-not-proven", f"{engine}: {reason}"),),
    )
