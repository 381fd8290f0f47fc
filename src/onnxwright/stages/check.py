"""Says of a graph what an engine won't take of it, before any long build: our own look, and the parser's verdict."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from onnxwright import backends, environment
from onnxwright.artifact import Package
from onnxwright.errors import BuildError, ForwardError, SourceError, UsageError, accepted
from onnxwright.findings import Finding
from onnxwright.loaders.onnxfile import default_profile, read, signature_of
from onnxwright.nvidia.asking import SECONDS
from onnxwright.nvidia.orders import Answer, Settings, Shaped
from onnxwright.nvidia.profiles import shaped
from onnxwright.profile import Profile
from onnxwright.stages.parsing import answer_of

if TYPE_CHECKING:
    import onnx_ir

Verdict = Literal["taken", "refused", "not asked"]


class CheckReport(msgspec.Struct, frozen=True):
    """What an engine takes of a graph.

    `parser` is what the library's own parser says, and `builder` its builder where that was asked for; "not asked"
    where the library isn't installed, for which `why` says what to do.
    """

    file: str
    target: str
    version: str
    parser: Verdict
    builder: Verdict
    why: str
    findings: tuple[Finding, ...]
    seconds: float = 0.0

    @property
    def is_refused(self) -> bool:
        """Whether anything refuses the graph."""
        return "refused" in {self.parser, self.builder} or any(one.code in _STOPPING for one in self.findings)

    @property
    def text(self) -> str:
        """The report in lines."""
        return "\n".join(_lines(self))


_STOPPING = frozenset(
    {
        *("node-refused", "graph-refused", "engine-crashed", "profile-unfit"),
        *("foreign-operator", "quantization-unfit", "operator-misread"),
    }
)


def check(
    source: Path,
    target: str,
    ranges: dict[str, tuple[int, int, int]] | None = None,
    *,
    is_built: bool = False,
    seconds: float = SECONDS,
) -> CheckReport:
    """Checks an `.onnx` file, or the graph of a package, for an engine that is built ahead of time.

    Raises:
        UsageError: when the engine is unknown, or the file is missing or no ONNX model.
    """
    from onnxwright.graph.linting import lint
    from onnxwright.graph.targets import TARGETS

    if target not in backends.builders():
        raise UsageError(f"target '{target}' is unknown; expected {accepted(target, backends.builders())}.")
    file = environment.at_home(source)
    file = Package.open(file).file() if file.is_dir() else file
    if not file.is_file():
        raise SourceError(f"'{file}': no such file. Give an .onnx file or a package folder.")
    model = read(file)
    found = [*lint(model, TARGETS[target]), *_unfit_profile(model, ranges or {})]
    why = backends.builders()[target].buildable() or ""
    report = CheckReport(file.name, target, "", "not asked", "not asked", why, tuple(found))
    if why:
        return report
    parsed = _parsed(report, file, model, seconds)
    return _built(parsed, file, model, ranges or {}, seconds) if is_built and parsed.parser == "taken" else parsed


def _parsed(report: CheckReport, file: Path, model: onnx_ir.Model, seconds: float) -> CheckReport:
    """Adds what the parser says."""
    try:
        answer = answer_of(report.target, file, Settings(), seconds=seconds)
    except BuildError as crash:
        return replace(report, parser="refused", findings=(_crashed(crash), *report.findings))
    return replace(
        report,
        version=answer.version,
        parser="taken" if answer.is_parsed else "refused",
        findings=(*_told(model, report.target, answer), *report.findings),
        seconds=answer.parse_seconds,
    )


def _built(
    report: CheckReport, file: Path, model: onnx_ir.Model, ranges: dict[str, tuple[int, int, int]], seconds: float
) -> CheckReport:
    """Adds what the graph itself says of ranges, and the builder of a graph that the parser takes."""
    found = (*report.findings, *(_refused_sizes(file, ranges) if ranges else ()))
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(profiles=_profiles(model, ranges))
        try:
            answer = answer_of(report.target, file, settings, Path(folder) / "model.engine", seconds=seconds)
        except BuildError as crash:
            return replace(report, builder="refused", findings=(_crashed(crash), *found))
    return replace(
        report,
        builder="taken" if answer.is_built else "refused",
        findings=(*_told(model, report.target, answer), *found),
        seconds=round(report.seconds + answer.build_seconds, 3),
    )


def _crashed(crash: BuildError) -> Finding:
    return Finding("engine-crashed", str(crash))


def _told(model: onnx_ir.Model, target: str, answer: Answer) -> Iterator[Finding]:
    """What the library refuses, with the place in the user's code."""
    from onnxwright.graph.linting import found_at, place_of

    for one in answer.refused:
        name, where = place_of(model, one.node, one.place)
        told = f"{target} refuses node '{name}' ({one.operator}): {one.reason}"
        yield Finding("node-refused", told, where=where or f"node {name}")
    named = {one.operator for one in answer.refused}
    for node in model.graph.all_nodes():
        if node.op_type in answer.lacking and node.op_type not in named:
            yield found_at("node-refused", f"{target} has no operator {node.op_type}.", node)
    if answer.problem and not answer.refused:
        yield Finding("graph-refused", f"{target}: {answer.problem}")


def _refused_sizes(file: Path, ranges: dict[str, tuple[int, int, int]]) -> Iterator[Finding]:
    """What the graph itself says of the ends of ranges; nothing where ONNX Runtime doesn't run it."""
    from onnxwright.stages.build import refused_sizes
    from onnxwright.stages.load import load

    dims = signature_of(read(file)).dims
    known = {dim: sizes for dim, sizes in ranges.items() if dim in dims}
    try:
        source = load(file, ranges=known)
    except ForwardError:
        return
    for dim, size, reason in refused_sizes(source, known):
        yield Finding("profile-unfit", f"range of dim '{dim}': the graph itself refuses size {size}: {reason}")


def _unfit_profile(model: onnx_ir.Model, ranges: dict[str, tuple[int, int, int]]) -> Iterator[Finding]:
    dims = signature_of(model).dims
    Profile(ranges)
    for dim in ranges:
        if dim not in dims:
            known = ", ".join(dims) or "none that vary"
            yield Finding("profile-unfit", f"range for dim '{dim}': the graph has no such dim; it has {known}.")


def _profiles(model: onnx_ir.Model, ranges: dict[str, tuple[int, int, int]]) -> tuple[Shaped, ...]:
    signature = signature_of(model)
    if not signature.dims:
        return ()
    known = {dim: sizes for dim, sizes in ranges.items() if dim in signature.dims}
    return (shaped(signature, default_profile(signature).replace(known)),)


def _lines(report: CheckReport) -> Iterator[str]:
    yield f"{report.file}: {report.target} {report.version}".rstrip()
    yield f"parser    {report.parser}{f': {report.why}' if report.why else ''}"
    if report.builder != "not asked":
        yield f"builder   {report.builder}"
    for one in report.findings:
        yield f"  {one.code}: {one.message}{f' ({one.where})' if one.where else ''}"
