"""Builds an engine of a graph, and writes it to a folder with what it is valid for.

An engine is a cache: the graph is the artefact, and a package builds its engine again on the machine at hand.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from onnxwright import backends, environment
from onnxwright.artifact import Package, is_package
from onnxwright.engine import ENGINE, LOG, MANIFEST, Engine, EngineManifest, write_engine_manifest
from onnxwright.errors import BuildError, EngineError, OutOfRangeError, ProfileError, UsageError
from onnxwright.files import digest
from onnxwright.manifest import Proof
from onnxwright.nvidia.asking import SECONDS, CrashError
from onnxwright.nvidia.backend import TensorRt, precision_of, refusal
from onnxwright.nvidia.orders import Answer, Refusal, Settings, Tensor
from onnxwright.nvidia.profiles import buckets, edges_of, shaped
from onnxwright.profile import Profile
from onnxwright.progress import Progress, Silence
from onnxwright.signature import Signature
from onnxwright.source import Source
from onnxwright.staging import staged

if TYPE_CHECKING:
    import onnx_ir

ENGINES: Final = "engines"
_NAMES: Final = {"half": "float16", "bf16": "bfloat16", "fp8": "float8e4m3fn", "fp4": "float4e2m1"}
"""ONNX's names of TensorRT's types, where they are others."""
_MIB: Final = 1 << 20
_OF_TYPES: Final = "Failed to convert ONNX date type"
_SIZES_BY_VALUES: Final = ("missing values for shape input", "no optimization profile has been defined")
_SHORT_OF_MEMORY: Final = ("OutOfMemory", "workspace limit")
"""What the library calls it, its own memory and that of a layer alike."""


@dataclass(frozen=True)
class BuildRequest:
    """What is to be built, where to, and how; `onnxwright.build` says what each field means."""

    source: Path
    engine: str
    out: Path | None = None
    variant: str | None = None
    ranges: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    is_tf32: bool = False
    workspace_mib: int | None = None
    buckets: tuple[int, ...] = ()
    lengths: Path | None = None
    bucket_dim: str = "sequence"
    is_forced: bool = False
    seconds: float = SECONDS
    is_rebuilt: bool = True


@dataclass(frozen=True)
class Graph:
    """A graph to build, with the names of its dims and their ranges."""

    file: Path
    signature: Signature
    profile: Profile


@dataclass(frozen=True)
class Limits:
    """How long parsing and building may take, and what the engine is compared with: one built again, or before."""

    seconds: float = SECONDS
    is_rebuilt: bool = True
    earlier: str | None = None
    """The digest of an engine that was built of the same graph before."""


def build(request: BuildRequest, progress: Progress | None = None) -> Engine:
    """Builds an engine, whole or not at all.

    Raises:
        UsageError: when the call, a file or the machine is at fault.
        BuildError: when the library refuses the graph, builds nothing of it, or crashes over it.
    """
    progress = progress or Silence()
    builder = backends.builder(request.engine)
    graph = _graph_of(request)
    profiles = _profiles(request, graph.profile)
    out = _place(request)
    settings = _settings(request, graph, profiles)
    with (
        _housed(out),
        staged(out, is_forced=request.is_forced, mark=MANIFEST) as folder,
        progress.stage(f"build {request.engine}"),
    ):
        limits = Limits(request.seconds, is_rebuilt=request.is_rebuilt)
        write_engine(builder.name, graph, profiles, settings, folder, limits)
    return Engine.open(out)


def write_engine(  # noqa: PLR0913, PLR0917 - an engine is made of these
    name: str,
    graph: Graph,
    profiles: Sequence[Profile],
    settings: Settings,
    folder: Path,
    limits: Limits,
) -> EngineManifest:
    """Builds an engine into a folder, with its log and its manifest.

    Raises:
        BuildError: when there is none; nothing but the log is left in the folder then.
    """
    answer = answer_of(name, graph.file, settings, folder / ENGINE, seconds=limits.seconds)
    (folder / LOG).write_text("\n".join(answer.log) + "\n", encoding="utf-8")
    if answer.is_misused:
        raise EngineError(answer.problem)
    if not answer.is_built:
        raise BuildError(refusal(name, answer) + _remedy(answer, settings))
    manifest = EngineManifest(
        engine=name,
        version=answer.version,
        onnx=graph.file.name,
        onnx_sha256=digest(graph.file),
        sha256=digest(folder / ENGINE),
        bytes=(folder / ENGINE).stat().st_size,
        settings=settings,
        profile=tuple({dim: (*sizes,) for dim, sizes in one.items()} for one in profiles),
        inputs=answer.inputs,
        outputs=answer.outputs,
        precision=precision_of(graph.file),
        layers=answer.layers,
        parse_seconds=answer.parse_seconds,
        build_seconds=answer.build_seconds,
        peak_bytes=answer.peak_bytes,
        rebuilt=_rebuilt(name, graph, settings, folder / ENGINE, limits),
        environment=environment.describe(),
        not_executed=not_executed(name),
    )
    write_engine_manifest(folder, manifest)
    return manifest


def _remedy(answer: Answer, settings: Settings) -> str:
    if settings.workspace is not None and any(one in answer.problem for one in _SHORT_OF_MEMORY):
        return f" A layer may use {settings.workspace // _MIB} MiB: give --workspace more, or narrow the profile."
    target = next((one for one in settings.targets if f"({one.upper()})" in answer.problem), None)
    if target is not None:
        return f" Leave out --target {target}, or build a variant in a lower precision for it."
    if any(one in answer.problem for one in _SIZES_BY_VALUES):
        return " The values of an input are sizes there, of which a profile says nothing: make it a constant."
    return ""


def answer_of(
    name: str, file: Path, settings: Settings, engine: Path | None = None, *, seconds: float = SECONDS
) -> Answer:
    """Asks a library to parse a graph and to build it; every node of an operator that it lacks is told, too.

    It isn't asked to build what it would take for something else. Inputs and outputs of types that it lacks are handed
    to it in wider ones, where nothing but a cast takes or gives them.

    Raises:
        BuildError: when it crashes, or takes longer than `seconds`.
        EngineError: when the library can't be used here.
    """
    from onnxwright.graph.bounding import handed
    from onnxwright.graph.reading import read_model

    builder = backends.builder(name)
    assert isinstance(builder, TensorRt), "the only ones so far"
    model = read_model(file)
    wrong = _misread(name, model) if engine is not None else ()
    if wrong:
        return Answer("", refused=wrong)
    operators = tuple(sorted({node.op_type for node in model.graph.all_nodes()}))
    with handed(file, model) as (taken, changed):
        try:
            answer = builder.build(taken, settings, engine, operators=operators, seconds=seconds)
        except CrashError as crash:
            raise BuildError(f"{name}, with this graph, {crash}") from crash
    return _with_same_types(_with_types_told(answer, model), model, changed)


def _with_types_told(answer: Answer, model: onnx_ir.Model) -> Answer:
    """Names the inputs and outputs for whose types the parser refuses a graph, which it doesn't."""
    from onnxwright.graph.linting import lacked

    told = "; ".join(lacked(model))
    if not told:
        return answer
    refused = tuple(
        msgspec.structs.replace(one, reason=f"{told}. {one.reason}") if _OF_TYPES in one.reason else one
        for one in answer.refused
    )
    return msgspec.structs.replace(answer, refused=refused)


def misreading_of(name: str, file: Path) -> str:
    """Says what an engine's parser would take for something else; nothing where it is read right, or not parsed."""
    from onnxwright.graph.reading import read_model

    wrong = _misread(name, read_model(file)) if name in backends.builders() else ()
    return refusal(name, Answer("", refused=wrong)) if wrong else ""


def _misread(name: str, model: onnx_ir.Model) -> tuple[Refusal, ...]:
    from onnxwright.graph.linting import misread
    from onnxwright.graph.passes import named
    from onnxwright.graph.targets import TARGETS

    return tuple(Refusal(-1, named(node), node.op_type, why) for node, why in misread(model, TARGETS[name]))


def _with_same_types(answer: Answer, model: onnx_ir.Model, changed: Mapping[str, str]) -> Answer:
    """Refuses an engine whose inputs or outputs have other types than it was handed: it makes floats of doubles."""
    values = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    for tensor in (*answer.inputs, *answer.outputs):
        kind = values[tensor.name].dtype if tensor.name in values else None
        if kind is not None and kind.name.lower() != _NAMES.get(tensor.dtype, tensor.dtype):
            told = f"it computes '{tensor.name}' in {tensor.dtype}, and the graph declares {kind.name.lower()}."
            return msgspec.structs.replace(answer, is_built=False, problem=told)
    return msgspec.structs.replace(
        answer, inputs=_declared(answer.inputs, changed), outputs=_declared(answer.outputs, changed)
    )


def _declared(tensors: tuple[Tensor, ...], changed: Mapping[str, str]) -> tuple[Tensor, ...]:
    return tuple(msgspec.structs.replace(one, declared=changed.get(one.name, "")) for one in tensors)


def build_for(  # noqa: PLR0913 - an engine is made of these
    name: str, file: Path, source: Source, proof: Proof, folder: Path, *, limits: Limits
) -> EngineManifest:
    """Builds an engine of a source's graph into a folder, for the range that was shown of the graph elsewhere.

    Raises:
        BuildError: when there is none.
    """
    graph = Graph(file, source.signature, source.profile.within(proof.range))
    settings = Settings(profiles=(shaped(graph.signature, graph.profile),) if graph.signature.dims else ())
    return write_engine(name, graph, [graph.profile], settings, folder, limits)


def try_build(name: str, file: Path, source: Source, proof: Proof) -> EngineManifest:
    """Builds an engine of a source's graph that isn't kept, and returns what it was.

    Raises:
        EngineError: when there is none, with every node that is refused.
    """
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        try:
            return build_for(name, file, source, proof, Path(folder), limits=Limits(is_rebuilt=False))
        except BuildError as problem:
            raise EngineError(str(problem)) from problem


def told_of(built: EngineManifest) -> str:
    """Says of an engine what it is, and why nobody has run it."""
    return f"built with {built.engine} {built.version}, {built.bytes / 1e6:.1f} MB; {built.not_executed}"


def not_executed(name: str) -> str:
    """Says why an engine that is built here is not run here; nothing where it can be, and `prove` is to do it."""
    reason = backends.engines()[name].available()
    return reason or "built only: `onnxwright prove` runs it."


def _graph_of(request: BuildRequest) -> Graph:
    source = environment.at_home(request.source)
    if source.suffix == ".onnx":
        from onnxwright.stages.load import load

        _refuse_unparsed(request, source)
        loaded = load(source, ranges=request.ranges)
        for dim, size, reason in refused_sizes(loaded, request.ranges):
            raise ProfileError(f"range of dim '{dim}': the graph itself refuses size {size}: {reason}")
        return Graph(source, loaded.signature, loaded.profile)
    package = Package.open(source)
    asked = Profile(request.ranges)
    file = package.proven_file(request.variant)
    shown = package.manifest.variants[request.variant or package.manifest.default.variant].proof.range
    _check_within(shown, asked)
    return Graph(file, package.signature, package.profile.within(shown).replace(asked))


def _refuse_unparsed(request: BuildRequest, file: Path) -> None:
    """Has the parser say what it refuses before the graph is run, which finds out the sizes that it takes.

    Raises:
        BuildError: naming the nodes.
    """
    from onnxwright.loaders.onnxfile import read

    if not file.is_file():
        return  # for `load` to say
    read(file)
    misread = misreading_of(request.engine, file)
    if misread:
        raise BuildError(misread)
    answer = answer_of(request.engine, file, Settings(), seconds=request.seconds)
    if not answer.is_parsed:
        raise BuildError(refusal(request.engine, answer))


def refused_sizes(source: Source, ranges: Mapping[str, tuple[int, int, int]]) -> Iterator[tuple[str, int, str]]:
    """Yields the ends of ranges that a graph itself refuses, as beyond its table of positions, which no parser sees."""
    from onnxwright.given import GivenSession
    from onnxwright.loaders.probe import Probe

    assert source.graph is not None, "the graph itself is asked"
    probe = Probe(GivenSession(source.graph, threads=environment.cores()).run, source.sampler)
    for dim, (least, _, most) in ranges.items():
        for size in dict.fromkeys((least, most)):
            reason = probe.refusal({**source.traced, dim: size})
            if reason is not None:
                yield dim, size, reason


def _check_within(shown: Mapping[str, tuple[int, int]], ranges: Mapping[str, tuple[int, int, int]]) -> None:
    for dim, (least, _, most) in ranges.items():
        if dim in shown and not shown[dim][0] <= least <= most <= shown[dim][1]:
            raise OutOfRangeError(
                f"range of dim '{dim}': got {least} to {most}, proven for {shown[dim][0]} to {shown[dim][1]}. "
                "Build for a part of that, or convert with a wider range."
            )


def _profiles(request: BuildRequest, profile: Profile) -> list[Profile]:
    if request.buckets and request.lengths is not None:
        raise UsageError("--bucket and --lengths: expected one of the two, got both.")
    edges = list(request.buckets)
    if request.lengths is not None:
        least, _, most = profile.get(request.bucket_dim) or (1, 1, 1)
        edges = [edge for edge in edges_of(_read_lengths(request.lengths)) if least <= edge < most]
    return buckets(profile, request.bucket_dim, edges) if edges else [profile]


def _read_lengths(file: Path) -> list[int]:
    try:
        words = file.read_text(encoding="utf-8").split()
    except UnicodeDecodeError:
        raise ProfileError(f"lengths '{file}': is no text. Give one whole number in each line.") from None
    if not all(word.isdigit() for word in words):
        wrong = next(word for word in words if not word.isdigit())
        raise ProfileError(f"lengths '{file}': expected one whole number in each line, got '{wrong}'.")
    return [int(word) for word in words]


def _settings(request: BuildRequest, graph: Graph, profiles: Sequence[Profile]) -> Settings:
    if request.workspace_mib is not None and request.workspace_mib < 1:
        raise UsageError(f"--workspace {request.workspace_mib}: expected at least 1 MiB.")
    shapes = tuple(shaped(graph.signature, one) for one in profiles) if graph.signature.dims else ()
    return Settings(
        profiles=shapes,
        targets=tuple(dict.fromkeys(target.lower() for target in request.targets)),
        is_tf32=request.is_tf32,
        workspace=None if request.workspace_mib is None else request.workspace_mib * _MIB,
    )


def _place(request: BuildRequest) -> Path:
    if request.out is not None:
        return request.out
    source = environment.at_home(request.source)
    if source.suffix == ".onnx":
        raise UsageError("output: expected -o DIR for an .onnx file; only a package has a place for its engines.")
    return source / ENGINES / engine_name(request.engine, request.variant)


@contextlib.contextmanager
def _housed(out: Path) -> Iterator[None]:
    """Makes a package's folder for engines, and takes it away again where none comes to lie in it."""
    is_missing = out.parent.name == ENGINES and is_package(out.parents[1]) and not out.parent.exists()
    if is_missing:
        out.parent.mkdir()
    try:
        yield
    finally:
        if is_missing and not any(out.parent.iterdir()):
            out.parent.rmdir()


def engine_name(engine: str, variant: str | None = None) -> str:
    """Returns the name of the folder in which a package keeps an engine."""
    return engine if variant is None else f"{engine}-{variant}"


def _rebuilt(name: str, graph: Graph, settings: Settings, engine: Path, limits: Limits) -> str:
    """Whether another build gives the same bytes."""
    if limits.earlier is not None:
        return "identical" if digest(engine) == limits.earlier else "differs"
    if not limits.is_rebuilt:
        return "not tried"
    with tempfile.TemporaryDirectory(dir=engine.parent) as folder:
        other = Path(folder) / ENGINE
        try:
            answer = answer_of(name, graph.file, settings, other, seconds=limits.seconds)
        except (BuildError, EngineError) as problem:
            return f"failed: {problem}"
        if not answer.is_built:
            return f"failed: {answer.problem}"
        return "identical" if digest(other) == digest(engine) else "differs"
