"""Tries route after route, each judged by the same proof, and keeps a journal."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from onnxwright import backends, environment
from onnxwright.backends import Options, Session
from onnxwright.errors import EngineError, ProofError, RouteError
from onnxwright.manifest import Attempt, Proof
from onnxwright.progress import Progress
from onnxwright.proof.prove import prove
from onnxwright.reference import Reference
from onnxwright.routes import Exported
from onnxwright.source import Source
from onnxwright.stages.examine import plan_of
from onnxwright.stages.explain import Origin, merged, with_evidence
from onnxwright.stages.export import export
from onnxwright.stages.locate import located
from onnxwright.stages.request import Request
from onnxwright.staging import is_full

if TYPE_CHECKING:
    from onnxwright.watching.conditions import Asked

GIVEN = "given"
"""The route of a source that is a graph already."""

_TELLING = (
    *("shape-branch-frozen", "loop-unrolled", "constant-from-sample", "dynamic-axis-lost", "batch-frozen"),
    *("axes-merged", "dtype-narrowed", "outputs-differ", "range-narrowed", "reference-refuses-size", "not-tried"),
)


@dataclass(frozen=True)
class Workbench:
    """What every attempt needs."""

    request: Request
    source: Source
    reference: Reference
    engines: Sequence[str]
    folder: Path
    asked: Asked | None = None


@dataclass(frozen=True)
class Outcome:
    """One attempt: its entry in the journal and, where there is a graph, what was shown of it in each engine."""

    journal: Attempt
    file: Path
    sessions: Mapping[str, Session]
    proofs: Mapping[str, Proof]
    refusals: Mapping[str, str]

    @property
    def engine(self) -> str:
        """The engine in which the most was shown; the first asked for where several are equal."""
        return max(self.proofs, key=lambda name: extent(self.proofs[name]))

    @property
    def proof(self) -> Proof:
        """What was shown in that engine."""
        return self.proofs[self.engine]

    @property
    def is_shown(self) -> bool:
        """Whether anything was shown."""
        return bool(self.proofs) and self.proof.verdict != "failed"

    @property
    def is_complete(self) -> bool:
        """Whether no other route could do better: all of the profile, or all that the model itself takes."""
        return self.is_shown and not any(found.code == "outputs-differ" for found in self.proof.findings)


def attempt_all(bench: Workbench, progress: Progress) -> list[Outcome]:
    """Tries routes in order until one is shown right wherever the model itself answers."""
    outcomes: list[Outcome] = []
    for name in [GIVEN] if bench.source.graph is not None else bench.request.ladder():
        with progress.stage(name):
            begun = time.monotonic()
            tried = _attempt(bench, name)
            journal = replace(tried.journal, seconds=round(time.monotonic() - begun, 2))
            outcomes.append(dataclasses.replace(tried, journal=journal))
            progress.note(f"{name}: {journal.message}")
        if outcomes[-1].is_complete:
            break
    return outcomes


def best(outcomes: Sequence[Outcome], source: Source) -> Outcome:
    """Returns the attempt with the widest proof.

    Raises:
        ProofError: when nothing was shown in any; the journal comes with it, and what was found of the source.
    """
    shown = [outcome for outcome in outcomes if outcome.is_shown]
    if not shown:
        journal = tuple(outcome.journal for outcome in outcomes)
        told = "\n".join(f"  {entry.route}: {entry.message}" for entry in journal)
        raise ProofError(
            f"no route gives a graph that is shown right; nothing was written.\n{told}",
            findings=(*source.findings, *(found for entry in journal for found in entry.findings)),
            attempts=journal,
        )
    return max(shown, key=lambda outcome: extent(outcome.proof))


def extent(proof: Proof) -> tuple[bool, float]:
    """Returns how much a proof shows, to compare proofs by."""
    sizes = math.prod(high - low + 1 for low, high in proof.range.values())
    return proof.verdict == "proven", sizes if proof.verdict != "failed" else 0


def _attempt(bench: Workbench, route: str) -> Outcome:
    file = bench.folder / "attempts" / route / "model.onnx"
    file.parent.mkdir(parents=True)
    opset = bench.source.details.get("opset", bench.request.opset)
    entry = Attempt(route=route, opset=opset, verdict="error", message="")
    try:
        exported = _write_graph(bench, route, file)
    except RouteError as problem:
        if is_full(problem):
            raise
        return _ended(replace(entry, message=f"can't export it: {problem}", findings=problem.findings), file)
    findings, asked = exported.findings, bench.asked
    blocking = [found for found in findings if found.blocks_proof]
    if blocking:
        told = "; ".join(f"{found.message} ({found.where})" for found in blocking)
        return _ended(replace(entry, verdict="failed", message=told, findings=findings), file)
    sessions, refusals = prepare(bench.engines, file)
    if not sessions:
        return _ended(replace(entry, message="; ".join(refusals.values()), findings=findings), file)
    request, source = bench.request, bench.source
    if asked is not None:
        exported = dataclasses.replace(exported, findings=(*findings, *merged(exported.assumed, asked)))
        asked = asked.and_of(exported.assumed, source.traced, source.profile)
    plan = plan_of(source, asked, proof=request.proof, seed=request.seed)
    shown_by_points = prove(bench.reference, sessions, source.sampler, plan)
    origin: Origin = "trace" if route == "trace" else "foreign" if route == GIVEN else "export"
    proofs = {
        name: with_evidence(source, asked, proof, exported, origin=origin)
        for name, proof in located(shown_by_points, sessions, source, file).items()
    }
    shown = Outcome(entry, file, sessions, proofs, refusals).proof
    journal = replace(
        entry,
        verdict=shown.verdict,
        message=_told(shown),
        range=shown.range,
        findings=shown.findings,
    )
    return Outcome(journal, file, sessions, proofs, refusals)


def _ended(journal: Attempt, file: Path) -> Outcome:
    return Outcome(journal, file, {}, {}, {})


def _write_graph(bench: Workbench, route: str, file: Path) -> Exported:
    import onnx_ir

    from onnxwright.graph.saving import save_model

    if bench.source.graph is not None:
        exported = Exported(onnx_ir.load(bench.source.graph))
        onnx_ir.external_data.load_to_model(exported.model)
    else:
        exported = export(bench.source, route_name=route, opset=bench.request.opset)
    save_model(exported.model, file)
    return exported


def prepare(engines: Sequence[str], file: Path) -> tuple[dict[str, Session], dict[str, str]]:
    """Loads a graph into engines: the sessions, and why the others refuse it."""
    sessions: dict[str, Session] = {}
    refusals: dict[str, str] = {}
    for name in engines:
        try:
            sessions[name] = backends.engine(name).prepare(file, Options(environment.cores()))
        except EngineError as refusal:
            refusals[name] = str(refusal)
    return sessions, refusals


def _told(proof: Proof) -> str:
    told = [found.message for found in proof.findings if found.code in _TELLING or found.blocks_proof]
    return " ".join([f"{proof.verdict} at {proof.points} points.", *dict.fromkeys(told)])
