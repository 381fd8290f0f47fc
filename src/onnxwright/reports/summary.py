"""What a package is, and a built engine, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from onnxwright.engine import Engine
from onnxwright.findings import Finding
from onnxwright.manifest import Attempt, Divergence, EngineProof, Manifest, Measurement, Proof
from onnxwright.reports.columns import columns, in_comparison, in_details, in_ranges
from onnxwright.reports.lowering import quantization_rows
from onnxwright.reports.picture import lines
from onnxwright.reports.rewriting import optimization_rows
from onnxwright.words import in_sizes

_LINE: Final = 80


class PackageReport(msgspec.Struct, frozen=True, tag="package", tag_field="kind"):
    """What a package is, and which of its engines can run here (`None`), or why not."""

    path: str
    manifest: Manifest
    engines: dict[str, str | None]

    @property
    def text(self) -> str:
        """The report in columns."""
        rows = [("package", self.path), *_package_rows(self.manifest, self.engines)]
        width = _LINE - max(len(row[0]) for row in rows) - 2
        return columns([*rows, *(("picture", line) for line in lines(self.manifest.proof, width))])


def engine_text(engine: Engine) -> str:
    """Describes a built engine in columns."""
    found = engine.manifest
    rows = [
        ("engine", str(engine.folder)),
        ("built by", f"{found.engine} {found.version}, in {found.build_seconds:.1f} s"),
        ("of", f"{found.onnx} {found.onnx_sha256[:12]}"),
        ("for", ", ".join(found.settings.targets) or "any GPU that the library builds for"),
        *(("profile", in_ranges({dim: (sizes[0], sizes[-1]) for dim, sizes in one.items()})) for one in found.profile),
        ("weights", ", ".join(f"{count} {kind}" for kind, count in found.precision.items()) or "none"),
        ("size", f"{found.bytes / 1e6:.1f} MB"),
        ("rebuild", found.rebuilt),
        ("executed", "yes" if found.executed else f"no: {found.not_executed}"),
    ]
    return columns(rows)


def _package_rows(manifest: Manifest, available: Mapping[str, str | None]) -> Iterator[Sequence[str]]:
    yield "verdict", manifest.proof.verdict
    yield "range", in_ranges(manifest.proof.range)
    yield "profile", in_ranges({dim: (least, most) for dim, (least, _, most) in manifest.profile.items()})
    yield "task", manifest.task or "none"
    yield "default", manifest.default.variant, manifest.default.engine
    yield from (("input", spec.name, str(spec)) for spec in manifest.signature.inputs)
    yield from (("output", spec.name, str(spec)) for spec in manifest.signature.outputs)
    yield from _proof_rows(manifest.proof)
    for name, variant in manifest.variants.items():
        io = "" if variant.io == "float32" else f", {variant.io} in and out"
        yield "variant", name, variant.file, variant.precision + io, f"sha256 {variant.sha256}"
        for engine, found in variant.engines.items():
            yield "engine", name, engine, _engine_words(found), available.get(engine) or "available here"
        for measurement in variant.measurements:
            yield from _measurement_rows(name, measurement)
    yield from _made_rows(manifest)
    if manifest.evidence is not None:
        yield "evidence", manifest.evidence.file, f"{manifest.evidence.points} points"
    for finding in manifest.findings:
        yield from _finding_rows(finding)
    yield from map(_attempt_row, manifest.attempts)
    for step in manifest.lineage:
        yield "lineage", step.verb, in_details(step.details)
    yield from (("environment", name, str(value)) for name, value in manifest.environment.items())


def _proof_rows(proof: Proof) -> Iterator[Sequence[str]]:
    yield "proof", f"{proof.points} points", f"{proof.candidate} against {proof.reference}"
    if proof.worst is not None:
        worst = proof.worst
        yield (
            "worst",
            f"{worst.error:.2g} of {worst.limit:.2g}",
            worst.output,
            f"at {in_sizes(worst.sizes)}, values {worst.values}",
        )
    if proof.divergence is not None:
        yield from _divergence_rows(proof.divergence)
    for output, limit in proof.tolerance.limits.items():
        yield "tolerance", f"{limit:.2g}", output, f"{proof.tolerance.name}, from {proof.tolerance.origin}"


def _engine_words(found: EngineProof) -> str:
    if not found.executed:
        return f"not executed: {found.message}"
    if found.proof is None:
        return f"no proof: {found.message}"
    return f"{found.proof.verdict} for {in_ranges(found.proof.range)}"


def _made_rows(manifest: Manifest) -> Iterator[Sequence[str]]:
    """What was tried to make the graph faster, by engine."""
    for engine, rewritten in manifest.optimizations.items():
        yield from optimization_rows(engine, rewritten)
    for engine, lowered in manifest.quantizations.items():
        yield from quantization_rows(engine, lowered)


def _measurement_rows(variant: str, measurement: Measurement) -> Iterator[Sequence[str]]:
    for latency in measurement.latencies:
        yield (
            "measured",
            variant,
            measurement.label,
            in_sizes(latency.sizes),
            f"median {latency.median_ms:.3g} ms",
            f"p95 {latency.p95_ms:.3g} ms",
            f"p99 {latency.p99_ms:.3g} ms",
            in_comparison(latency, measurement.baseline),
        )


def _finding_rows(finding: Finding) -> Iterator[Sequence[str]]:
    module = f"in {finding.module}" if finding.module else ""
    repair = f"repair: {finding.repair}" if finding.repair else ""
    yield "finding", finding.code, " ".join(filter(None, (finding.message, finding.where, module, repair)))
    if finding.evidence:
        yield "finding", "", f"evidence: {finding.evidence}"
    for line in finding.excerpt:
        yield "finding", "", f"  {line}"


def _divergence_rows(divergence: Divergence) -> Iterator[Sequence[str]]:
    yield "diverges", "at", f"{in_sizes(divergence.sizes)}, values {divergence.values}"
    yield "diverges", "in", " ".join(filter(None, (divergence.module or "the module itself", divergence.where)))
    if divergence.node:
        yield "diverges", "node", divergence.node
    if divergence.error is not None:
        yield "diverges", "error", f"{divergence.error:.2g}"
    for drift in divergence.growth:
        where = " ".join(filter(None, (drift.module or "the module itself", drift.where)))
        error = "-" if drift.error is None else f"{drift.error:.2g}"
        yield "diverges", "growth", f"{error:<8} {where}"
    if divergence.message:
        yield "diverges", "because", divergence.message


def _attempt_row(attempt: Attempt) -> Sequence[str]:
    what = f"{attempt.route}, opset {attempt.opset}"
    return "attempt", what, attempt.verdict, f"{attempt.seconds:.1f} s", attempt.message
