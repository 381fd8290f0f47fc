"""Proves a package again, on the machine at hand and without PyTorch, from the answers that it carries."""

from __future__ import annotations

from collections.abc import Sequence

from onnxwright import evidence, tolerance
from onnxwright.artifact import Package, member
from onnxwright.backends import Session, Tensors
from onnxwright.errors import SourceError
from onnxwright.evidence import Point
from onnxwright.files import digest
from onnxwright.findings import Finding
from onnxwright.manifest import Proof, Worst


def prove_package(package: Package, engines: Sequence[str] = ("auto",)) -> dict[str, Proof]:
    """Runs every point of a package's evidence through engines, and returns a proof for each.

    The range of such a proof is the span of the sizes that the evidence holds.

    Raises:
        SourceError: when the package carries no evidence, or it or the graph was altered.
        EngineError: when an engine isn't available or wasn't proven for the package.
    """
    points = _read(package)
    names = package.engines() if tuple(engines) == ("auto",) else list(engines)
    return {name: _prove(package, package.session(engine=name), points) for name in names}


def _read(package: Package) -> list[Point]:
    kept = package.manifest.evidence
    if kept is None:
        raise SourceError(f"package '{package.folder}' carries no evidence. Convert the model again.")
    file = member(package.folder, kept.file)
    if digest(file) != kept.sha256:
        raise SourceError(f"'{file}' was altered: its digest isn't the manifest's. Convert the model again.")
    dtypes = {spec.name: spec.dtype for spec in (*package.signature.inputs, *package.signature.outputs)}
    return list(evidence.read(file, dtypes))


def _prove(package: Package, session: Session, points: Sequence[Point]) -> Proof:
    kept = package.proof
    worst: Worst | None = None
    sizes, findings = [], []
    for point in points:
        bound = package.signature.bind(point.feeds)
        errors = _errors(point, session.run(point.feeds))
        wrong = [name for name, error in errors.items() if error > point.limits[name]]
        if wrong:
            findings.append(Finding("outputs-differ", f"At {bound}: {', '.join(wrong)} differs from the kept answer."))
            continue
        sizes.append(bound)
        output = max(errors, key=lambda name: errors[name])
        if worst is None or errors[output] > worst.error:
            worst = Worst(errors[output], point.limits[output], output, bound, "kept")
    spanned = {dim: (min(one[dim] for one in sizes), max(one[dim] for one in sizes)) for dim in kept.range if sizes}
    is_whole = all(low <= kept.range[dim][0] and high >= kept.range[dim][1] for dim, (low, high) in spanned.items())
    return Proof(
        verdict="failed" if findings or not sizes else "proven" if is_whole else "partial",
        range={} if findings else spanned,
        points=len(points),
        worst=worst,
        tolerance=kept.tolerance,
        reference=f"kept answers of {kept.reference}",
        candidate=f"{session.ran.backend} {session.ran.version} {session.ran.provider} {session.ran.precision}",
        sizes=tuple(sizes),
        findings=tuple(findings),
    )


def _errors(point: Point, answered: Tensors) -> dict[str, float]:
    return {
        name: tolerance.distance(kept, evidence.elements(answered[name]))
        if name in answered and answered[name].shape == point.shapes[name]
        else float("inf")
        for name, kept in point.elements.items()
    }
