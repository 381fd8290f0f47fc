"""Says what a package or an ONNX file is: as JSON, or as text in columns that `grep` and people can read."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from onnxwright import backends, dtypes, environment
from onnxwright.artifact import Package
from onnxwright.engine import Engine
from onnxwright.errors import MissingExtraError, SignatureError, SourceError
from onnxwright.files import data_file, digest
from onnxwright.findings import Finding
from onnxwright.manifest import Attempt, Divergence, EngineProof, Latency, Manifest, Measurement, Proof
from onnxwright.reports.lowering import quantization_rows
from onnxwright.reports.picture import lines
from onnxwright.reports.rewriting import optimization_rows
from onnxwright.stages.measure import in_words

Rows = Iterable[Sequence[str]]
_LINE: Final = 80
_SUB_BYTE_BITS: Final = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}


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


class Boundary(msgspec.Struct, frozen=True):
    """An input or output of a graph; an axis without a size or a name is `None`."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if dim is None else str(dim) for dim in self.shape)}]"


class Weights(msgspec.Struct, frozen=True):
    """The initializers of a graph: how many, how large, how many elements of each type, which files beside it."""

    count: int
    bytes: int
    elements: dict[str, int]
    files: tuple[str, ...]


class GraphReport(msgspec.Struct, frozen=True, tag="onnx", tag_field="kind"):
    """What an ONNX file is."""

    path: str
    sha256: str
    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[Boundary, ...]
    outputs: tuple[Boundary, ...]
    operators: dict[str, int]
    weights: Weights

    @property
    def text(self) -> str:
        """The report in columns."""
        return columns([("onnx", self.path), *_graph_rows(self)])


Report = PackageReport | GraphReport


def inspect(path: str | Path) -> Report:
    """Describes a package folder or an `.onnx` file.

    Raises:
        SourceError: when there is nothing there, or it is neither.
        MissingExtraError: for an `.onnx` file, when the package `onnx` is not installed.
    """
    path = environment.at_home(path)
    if path.is_dir():
        package = Package.open(path)
        return PackageReport(str(path), package.manifest, _available(package.manifest))
    if not path.exists():
        raise SourceError(f"'{path}': no such file or folder. Give a package folder or an .onnx file.")
    return _describe_graph(path)


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


def in_range(sizes: Sequence[int]) -> str:
    """Says a range in words: "1 to 32", or "8" when there is one size."""
    least, most = sizes[0], sizes[-1]
    return str(least) if least == most else f"{least} to {most}"


def in_ranges(ranges: Mapping[str, Sequence[int]]) -> str:
    """Says the range of each dim in words."""
    return ", ".join(f"{dim} {in_range(sizes)}" for dim, sizes in ranges.items()) or "no dims that vary"


def in_sizes(sizes: Mapping[str, int]) -> str:
    """Says one size of each dim in words."""
    return ", ".join(f"{dim} {size}" for dim, size in sizes.items()) or "fixed sizes"


def in_details(details: Mapping[str, Any]) -> str:
    """Says a table of details in words; lists as their entries, tables as their pairs."""
    return "; ".join(f"{key}: {_in_words(value)}" for key, value in details.items())


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return in_sizes(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def in_comparison(latency: Latency, baseline: str) -> str:
    """Says how a latency compares with the baseline's, with its interval, or that it is the baseline's own."""
    least, most = latency.speedup_interval
    if latency.speedup == least == most == 1.0:
        return "the baseline"
    if not latency.is_different:
        return f"no difference to {baseline}"
    return f"{in_words(latency)} than {baseline} ({least:.2f} to {most:.2f})"


def _available(manifest: Manifest) -> dict[str, str | None]:
    known = backends.engines()
    names = dict.fromkeys(name for variant in manifest.variants.values() for name in variant.engines)
    return {name: known[name].available() if name in known else "unknown to this version" for name in names}


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
        yield "variant", name, variant.file, variant.precision, f"sha256 {variant.sha256}"
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
    yield "diverges", "error", f"{divergence.error:.2g}"
    for drift in divergence.growth:
        where = " ".join(filter(None, (drift.module or "the module itself", drift.where)))
        yield "diverges", "growth", f"{drift.error:<8.2g} {where}"
    if divergence.message:
        yield "diverges", "because", divergence.message


def _attempt_row(attempt: Attempt) -> Sequence[str]:
    what = f"{attempt.route}, opset {attempt.opset}"
    return "attempt", what, attempt.verdict, f"{attempt.seconds:.1f} s", attempt.message


def _graph_rows(report: GraphReport) -> Iterator[Sequence[str]]:
    yield "sha256", report.sha256
    yield "producer", report.producer or "not said"
    yield "ir version", str(report.ir_version)
    yield from (("opset", domain, str(version)) for domain, version in report.opsets.items())
    yield from (("input", found.name, str(found)) for found in report.inputs)
    yield from (("output", found.name, str(found)) for found in report.outputs)
    yield "weights", f"{report.weights.count} tensors", f"{report.weights.bytes} bytes"
    yield from (("weights", dtype, f"{count} elements") for dtype, count in report.weights.elements.items())
    yield from (("external data", name) for name in report.weights.files)
    yield from (("operator", name, str(count)) for name, count in report.operators.items())


def columns(rows: Rows) -> str:
    """Lines up all columns but the last of each row, a kind of row by itself."""
    listed = [tuple(row) for row in rows]
    widths: dict[tuple[str, int, int], int] = {}
    for row in listed:
        for column, cell in enumerate(row[:-1]):
            key = (row[0], len(row), column)
            widths[key] = max(widths.get(key, 0), len(cell))
    first = max(len(row[0]) for row in listed)
    return "\n".join(
        "  ".join(
            cell.ljust(first if column == 0 else widths.get((row[0], len(row), column), 0))
            for column, cell in enumerate(row)
        ).rstrip()
        for row in listed
    )


def _describe_graph(file: Path) -> GraphReport:
    model = _load(file)
    nodes, tensors = _contents(model)
    operators = Counter(f"{node.domain}::{node.op_type}" if node.domain else str(node.op_type) for node in nodes)
    constants = {tensor.name for tensor in model.graph.initializer}
    return GraphReport(
        path=str(file),
        sha256=digest(file),
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        ir_version=model.ir_version,
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        inputs=tuple(_boundary(value) for value in model.graph.input if value.name not in constants),
        outputs=tuple(_boundary(value) for value in model.graph.output),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        weights=_weigh(tensors, file),
    )


def _load(file: Path) -> Any:
    try:
        importlib.import_module("onnx")
    except ImportError as missing:
        raise MissingExtraError(
            f"'{file}': reading a graph needs the package 'onnx'. "
            'Install it with `pip install "onnxwright[convert]"`.'
        ) from missing
    from onnxwright.graph.reading import read_outline

    try:
        model = read_outline(file)
    except Exception as refusal:  # protobuf raises a type of its own
        raise SourceError(
            f"'{file}' is not an ONNX model: {refusal}. Give a package folder or an .onnx file."
        ) from refusal
    if not model.graph.output:
        raise SourceError(f"'{file}' is not an ONNX model: no graph in it. Give a package folder or an .onnx file.")
    return model


def _contents(model: Any) -> tuple[list[Any], list[Any]]:
    """Returns every node and every initializer, those in the bodies of nodes and functions too."""
    nodes: list[Any] = []
    tensors: list[Any] = []
    waiting = [model.graph, *model.functions]
    while waiting:
        body = waiting.pop()
        tensors += getattr(body, "initializer", ())
        nodes += body.node
        for attribute in (attribute for node in body.node for attribute in node.attribute):
            waiting += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
    return nodes, tensors


def _boundary(value: Any) -> Boundary:
    kind = value.type.tensor_type
    dims = (dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim)
    return Boundary(value.name, _dtype_name(kind.elem_type), tuple(dims))


def _dtype_name(code: int) -> str:
    import onnx

    try:
        return dtypes.from_onnx(code)
    except SignatureError:
        return str(onnx.TensorProto.DataType.Name(code)).lower()


def _weigh(tensors: Sequence[Any], file: Path) -> Weights:
    elements: Counter[str] = Counter()
    for tensor in tensors:
        elements[_dtype_name(tensor.data_type)] += math.prod(tensor.dims)
    places = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    if data_file(file).exists():
        places.add(data_file(file).name)
    return Weights(
        count=len(tensors),
        bytes=sum(map(_byte_count, tensors)),
        elements=dict(elements.most_common()),
        files=tuple(sorted(place if (file.parent / place).is_file() else f"{place} (missing)" for place in places)),
    )


def _byte_count(tensor: Any) -> int:
    import onnx

    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind == "STRING":
        return sum(map(len, tensor.string_data))
    bits = _SUB_BYTE_BITS.get(kind) or int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize) * 8
    count: int = math.prod(tensor.dims)
    return math.ceil(count * bits / 8)
