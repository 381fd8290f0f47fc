"""Proves a package again, on the machine at hand and without PyTorch, from the answers that it carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from onnxwright import evidence, tolerance
from onnxwright.artifact import Package, PackageSession, member
from onnxwright.backends import Array, Tensors
from onnxwright.errors import EngineError, SourceError
from onnxwright.evidence import Kept, Point
from onnxwright.files import digest
from onnxwright.findings import Finding
from onnxwright.manifest import Failure, Proof, Worst, Wrong
from onnxwright.nvidia.buffers import blank
from onnxwright.proof.box import Box, contains
from onnxwright.proof.lattice import distinct
from onnxwright.stages.prove_engine import built_engine, engine_session, keep_proof
from onnxwright.stages.verdicts import Verdicts
from onnxwright.words import in_sizes

Between = Callable[[Array, Array], float]
"""How far an answer lies from the one that was kept."""


def prove_package(package: Package, engines: Sequence[str] = ("auto",), *, allow_fallback: bool = False) -> Verdicts:
    """Runs every point of a package's evidence through engines, each over the range that was proven for it.

    An engine that the package has built says from then on that it was executed, if what it answers is right. The
    range of such a proof is the span of the sizes that the evidence holds. A variant in a lower precision is held to
    the limits of its own proof, and at values as a model is used with.

    Raises:
        SourceError: when the package carries no evidence, it or the graph was altered, or none of its inputs can be
            drawn again.
        EngineError: when an engine isn't available or wasn't proven for the package.
    """
    kept = read_evidence(package)
    points = [point for point in kept.points if point.is_drawn_alike(kept.sampler)]
    if not points:
        numpy = package.manifest.environment.get("numpy", "another")
        raise SourceError(
            f"package '{package.folder}': the numpy that is installed draws other inputs than those that its answers "
            f"are for. Install numpy {numpy}, with which it was converted, or convert the model again."
        )
    names = package.engines() if "auto" in engines else list(dict.fromkeys(engines))
    usable = Kept(kept.sampler, points)
    skipped = tuple(_skipped(len(kept.points) - len(points), len(kept.points)))
    built = {name: engine for name in names if (engine := built_engine(package, name)) is not None}
    sessions = {
        name: engine_session(package, built[name])
        if name in built
        else package.session(engine=name, allow_fallback=allow_fallback)
        for name in names
    }
    proofs = {name: prove_session(session, usable, skipped) for name, session in sessions.items()}
    for name, engine in built.items():
        keep_proof(engine, proofs[name])
    asked = {name: session.range for name, session in sessions.items()}
    return Verdicts(package.folder.resolve().name, asked, proofs)


def read_evidence(package: Package) -> Kept:
    """Reads the answers that a package carries.

    Raises:
        SourceError: when there are none, or they were altered.
    """
    kept = package.manifest.evidence
    if kept is None:
        raise SourceError(f"package '{package.folder}' carries no evidence. Convert the model again.")
    file = member(package.folder, kept.file)
    if digest(file) != kept.sha256:
        raise SourceError(f"'{file}' was altered: its digest isn't the manifest's. Convert the model again.")
    found = evidence.read(file, package.signature)
    if not found.points:
        raise SourceError(f"package '{package.folder}': its evidence holds no answer. Convert the model again.")
    return found


def _skipped(count: int, total: int) -> list[Finding]:
    told = f"{count} of {total} kept answers are for inputs that the numpy installed here doesn't draw again."
    return [Finding("evidence-skipped", told)] if count else []


def prove_session(session: PackageSession, kept: Kept, skipped: Sequence[Finding] = ()) -> Proof:
    """Runs every point of the evidence that lies in a session's range, and holds it against the kept answer."""
    held_to = session.proof.tolerance
    points = [
        replace(point, limits=held_to.limits) if held_to.is_for_usual else point
        for point in kept.points
        if contains(session.range, point.recipe.sizes) and (point.recipe.values.is_usual or not held_to.is_for_usual)
    ]
    between = tolerance.overall_distance if held_to.is_overall else tolerance.distance
    held = [_hold(point, session, point.feeds(kept.sampler), between) for point in points]
    failures = tuple(one for one in held if isinstance(one, Failure))
    agreed = [one for one in held if isinstance(one, Worst)]
    spanned = _span([one.sizes for one in agreed], session.range)
    is_shown = bool(agreed) and not failures
    ran = session.ran
    return Proof(
        verdict="failed" if not is_shown else "proven" if spanned == session.range else "partial",
        range=spanned if is_shown else {},
        points=len(points),
        worst=max(agreed, key=lambda one: one.error, default=None),
        tolerance=held_to,
        reference=f"kept answers of {session.proof.reference}",
        candidate=f"{ran.backend} {ran.version} {ran.provider} {ran.types}",
        sizes=tuple(distinct(one.sizes for one in agreed if all(one.sizes != failed.sizes for failed in failures))),
        failures=failures,
        findings=(*skipped, *_told(failures, held, spanned, session.range)),
    )


def _hold(point: Point, session: PackageSession, feeds: Tensors, between: Between) -> Worst | Failure:
    """Holds one answer against the kept one: the largest error of its outputs, or in what way it is wrong."""
    sizes, values = point.recipe.sizes, point.recipe.values.name
    try:
        answered = session.run(feeds)
    except EngineError as refusal:
        return Failure(sizes, "raises", f"raises with {values} values: {refusal}", values)
    errors = _errors(point, answered, between)
    over = [name for name, error in errors.items() if error > point.limits[name]]
    if over:
        empty = blank({name: answered[name] for name in over if name in answered})
        told = ", ".join(
            f"output '{name}' {empty[name]}" if name in empty else f"output '{name}' is off by {errors[name]:.1e}"
            for name in over
        )
        kind: Wrong = "values" if _has_shapes(point, answered) else "shape"
        return Failure(sizes, kind, f"{told} with {values} values", values)
    output = max(errors, key=lambda name: errors[name])
    return Worst(errors[output], point.limits[output], output, sizes, values)


def _errors(point: Point, answered: Tensors, between: Between) -> dict[str, float]:
    return {
        name: between(kept, evidence.elements(answered[name], kept.size))
        if _has_shapes(point, answered)
        else float("inf")
        for name, kept in point.elements.items()
    }


def _has_shapes(point: Point, answered: Tensors) -> bool:
    return all(name in answered and answered[name].shape == shape for name, shape in point.shapes.items())


def _span(many: Sequence[Mapping[str, int]], ranges: Box) -> Box:
    return {dim: (min(one[dim] for one in many), max(one[dim] for one in many)) for dim in ranges if many}


def _told(failures: Sequence[Failure], held: Sequence[object], spanned: Box, whole: Box) -> Iterator[Finding]:
    if failures:
        first = failures[0]
        told = (
            f"Wrong at {len(failures)} of {len(held)} points, for example at {in_sizes(first.sizes)}: {first.message}."
        )
        yield Finding("outputs-differ", told)
    elif spanned != whole:
        shown = f"hold for {in_sizes(spanned)}" if held else "hold for none of it"
        yield Finding(
            "range-narrowed", f"Declared for {in_sizes(whole)}; the answers that the package carries {shown}."
        )
