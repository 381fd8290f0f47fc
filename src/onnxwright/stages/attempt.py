"""Makes a graph in one way, loads it into the engines, and has each judged by the same proof."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from msgspec.structs import replace

from onnxwright import environment
from onnxwright.approach import Approach
from onnxwright.artifact import prepared
from onnxwright.backends import Options, Ran, Session
from onnxwright.engine import EngineManifest
from onnxwright.errors import EngineError, RepairError, RouteError
from onnxwright.isolation import can_isolate, isolated
from onnxwright.manifest import Attempt, Failure, Proof
from onnxwright.nvidia.profiles import shaped
from onnxwright.proof.prove import prove
from onnxwright.reference import Reference
from onnxwright.repairs import mended
from onnxwright.routes import Exported, Noted, routes
from onnxwright.sheltered import Sheltered
from onnxwright.source import Source
from onnxwright.stages.build import try_build
from onnxwright.stages.examine import looked_into, plan_of
from onnxwright.stages.explain import Origin, merged, sizes_taken, with_evidence
from onnxwright.stages.export import export
from onnxwright.stages.locate import located
from onnxwright.stages.parsing import may_end, misreading_of
from onnxwright.stages.request import Request
from onnxwright.stages.stepping import Stepping
from onnxwright.words import in_sizes

if TYPE_CHECKING:
    from onnxwright.watching.conditions import Asked

EXPORT_SECONDS: Final = 240.0
"""An export that takes longer is stopped."""
GIVEN = "given"
"""The route of a source that is a graph already."""

_MENDABLE = ("outputs-differ", "invalid-graph")
"""Findings that another way to a graph may be without."""
_TELLING = (
    *("shape-branch-frozen", "loop-unrolled", "constant-from-sample", "dynamic-axis-lost", "batch-frozen"),
    *("axes-merged", "dtype-narrowed", "outputs-differ", "reference-refuses-size"),
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
    builders: Sequence[str] = ()
    """Engines that can be built here and not run: they are built of what was shown right in another one."""
    refuted: Sequence[Failure] = ()
    """Points at which attempts before this one were wrong."""


@dataclass(frozen=True)
class Outcome:
    """One attempt: its entry in the journal and, where there is a graph, what was shown of it in each engine."""

    approach: Approach
    journal: Attempt
    file: Path
    sessions: Mapping[str, Session]
    """The engines with the graph loaded, as far as a reproduction is to be made with them: each holds all weights."""
    proofs: Mapping[str, Proof]
    refusals: Mapping[str, str]
    source: Source | None = None
    """The source with the sampler of the proof."""
    is_barren: bool = False
    """Whether a repair found nothing to mend: with more repairs it wouldn't either."""
    ran: Mapping[str, Ran] = field(default_factory=dict)
    """What ran in each engine."""
    built: Mapping[str, EngineManifest] = field(default_factory=dict)
    """What each engine was that was built and not run."""
    export_seconds: float = 0.0
    """How long it took to make the graph; 0 where there is none."""

    @property
    def engine(self) -> str:
        """The engine in which the most was shown; the first asked for where several are equal."""
        return max(self.proofs, key=lambda name: self.proofs[name].extent)

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
        return self.is_shown and not any(found.code in _MENDABLE for found in self.proof.findings)

    @property
    def suits_all(self) -> bool:
        """Whether every engine takes the graph, and was shown something with it."""
        return not self.refusals and all(proof.verdict != "failed" for proof in self.proofs.values())

    @property
    def extent(self) -> tuple[bool, float, int]:
        """How much was shown, and in how many engines or of how many built, to compare attempts by."""
        shown = sum(proof.verdict != "failed" for proof in self.proofs.values())
        return *self.proof.extent, shown + len(self.built)


def attempt(bench: Workbench, approach: Approach, *, seconds: float = EXPORT_SECONDS) -> Outcome:
    """Walks one way from a source to proofs; its export is stopped after so many seconds.

    Raises:
        UsageError: when a repair is unknown, or its argument none that it understands.
    """
    begun = time.monotonic()
    tried = _attempt(bench, approach, seconds)
    journal = replace(tried.journal, seconds=round(time.monotonic() - begun, 2))
    ran = {name: session.ran for name, session in tried.sessions.items()}
    kept = tried.sessions if bench.request.repro is not None else {}
    return dataclasses.replace(tried, journal=journal, sessions=kept, ran=ran)


def _attempt(bench: Workbench, approach: Approach, seconds: float) -> Outcome:
    place = bench.folder / "attempts"
    place.mkdir(exist_ok=True)
    file = Path(tempfile.mkdtemp(dir=place)) / "model.onnx"
    repairs = tuple(map(str, approach.fixes))
    entry = Attempt(approach.route, approach.opset, verdict="error", message="", repairs=repairs)
    begun = time.monotonic()
    try:
        noted = _write_graph(bench, approach, file, seconds)
    except RouteError as problem:
        ended = _ended(approach, replace(entry, message=f"can't export it: {problem}", findings=problem.findings), file)
        return dataclasses.replace(ended, is_barren=isinstance(problem, RepairError))
    spent = time.monotonic() - begun
    return dataclasses.replace(_judged(bench, approach, entry, file, noted), export_seconds=spent)


def _judged(bench: Workbench, approach: Approach, entry: Attempt, file: Path, noted: Noted) -> Outcome:
    """Has a graph that was written judged in every engine, unless what was seen on the way settles that it is wrong."""
    blocking = [found for found in noted.findings if found.blocks_proof]
    if blocking:
        told = "; ".join(f"{found.message} ({found.where})" for found in blocking)
        return _ended(approach, replace(entry, verdict="failed", message=told, findings=noted.findings), file)
    sessions, refusals = prepare(bench.engines, file, bench.source, allows_fallback=bench.request.allows_fallback)
    if not sessions:
        refused = replace(entry, message="; ".join(refusals.values()), findings=noted.findings)
        return dataclasses.replace(_ended(approach, refused, file), refusals=refusals)
    source, proofs = _proofs(bench, approach, file, sessions, noted)
    shown = Outcome(approach, entry, file, sessions, proofs, refusals, source).proof
    built, unbuilt = _build(bench, file, source, shown)
    refusals |= unbuilt
    journal = replace(
        entry,
        verdict=shown.verdict,
        message=" ".join([_told(shown), *(f"{one}." for one in unbuilt.values())]),
        range=shown.range,
        findings=shown.findings,
    )
    return Outcome(approach, journal, file, sessions, proofs, refusals, source, built=built)


def _build(
    bench: Workbench, file: Path, source: Source, shown: Proof
) -> tuple[dict[str, EngineManifest], dict[str, str]]:
    """Builds engines of a graph that was shown right elsewhere: what each was, or why there is none."""
    built: dict[str, EngineManifest] = {}
    unbuilt: dict[str, str] = {}
    for name in bench.builders if shown.verdict != "failed" else ():
        try:
            built[name] = try_build(name, file, source, shown)
        except EngineError as refusal:
            unbuilt[name] = str(refusal)
    return built, unbuilt


def _proofs(
    bench: Workbench, approach: Approach, file: Path, sessions: Mapping[str, Session], noted: Noted
) -> tuple[Source, dict[str, Proof]]:
    """Holds a graph against the reference in each engine, with what was seen of it and of its making.

    The source comes back with a sampler that knows what the graph compares, and what takes its branches.
    """
    source, asked = bench.source, bench.asked
    if asked is not None:
        noted = noted.and_found(merged(noted.assumed, asked))
        asked = asked.and_of(noted.assumed, source.traced, source.profile)
    origin = cast(Origin, approach.route)
    taken = sizes_taken(asked, noted, origin)
    plan = plan_of(source, asked, proof=bench.request.proof, seed=bench.request.seed, is_exhaustive=bool(taken))
    if approach.route != GIVEN:
        source, seen = looked_into(file, source, plan)
        noted = noted.and_found(seen)
    proofs = prove(bench.reference, sessions, source.sampler, dataclasses.replace(plan, refuted=bench.refuted))
    return source, {
        name: with_evidence(source, asked, proof, noted, origin=origin)
        for name, proof in located(proofs, sessions, source, file).items()
    }


def _ended(approach: Approach, journal: Attempt, file: Path) -> Outcome:
    return Outcome(approach, journal, file, {}, {}, {})


def _write_graph(bench: Workbench, approach: Approach, file: Path, seconds: float) -> Noted:
    """Writes the graph of an approach, in a process of its own where there can be one, and says what was seen."""
    from onnxwright.graph.saving import save_model

    if approach.route == GIVEN:
        given = mended(_read, approach.fixes)(bench.source)
        save_model(given.model, file, largest=bench.request.largest_file)
        return given.noted
    route = functools.partial(export, route_name=approach.route, opset=approach.opset)
    mending = mended(route, approach.fixes)

    def write() -> Noted:
        exported = mending(bench.source)
        save_model(exported.model, file, largest=bench.request.largest_file)
        return exported.noted

    routes()[approach.route].load()
    return isolated(write, seconds=seconds, folder=str(file.parents[1])) if can_isolate() else write()


def _read(source: Source) -> Exported:
    """The graph that is given."""
    from onnxwright.graph.reading import read_model

    assert source.graph is not None, "the route of such sources only"
    return Exported(read_model(source.graph))


def prepare(
    engines: Sequence[str], file: Path, source: Source, *, allows_fallback: bool = False
) -> tuple[dict[str, Session], dict[str, str]]:
    """Loads a graph into engines: the sessions, and why the others refuse it."""
    sessions: dict[str, Session] = {}
    refusals: dict[str, str] = {}
    shapes = shaped(source.signature, source.profile)
    options = Options(environment.cores(), is_thrifty=True, shapes=shapes, allows_fallback=allows_fallback)
    for name in engines:
        misread = misreading_of(name, file)
        if misread:
            refusals[name] = misread
            continue
        load = functools.partial(Sheltered if may_end(name, file) else prepared, name, options=options)
        try:
            session = load(file)
        except EngineError as refusal:
            refusals[name] = str(refusal)
            continue
        # A module that quantizes is a reference that follows.
        sessions[name] = session if source.module is None else Stepping(session, file, load, file.parent)
    return sessions, refusals


def _told(proof: Proof) -> str:
    told = [found.message for found in proof.findings if found.code in _TELLING or found.blocks_proof]
    if not told and proof.verdict != "proven":
        told = [found.message for found in proof.findings if found.code == "not-tried"]
    shown = f", for {in_sizes(proof.range)}" if proof.verdict == "partial" else ""
    return " ".join([f"{proof.verdict} at {proof.points} points{shown}.", *dict.fromkeys(told)])
