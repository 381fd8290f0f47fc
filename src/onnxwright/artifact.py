"""What lies on disk: packages, opened and run, and manifests, written last."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from onnxwright import backends, environment
from onnxwright.backends import Array, DeviceSession, Options, Ran, Session, Tensors
from onnxwright.casting import fitted
from onnxwright.errors import EngineError, OutOfRangeError, SourceError, UsageError, accepted
from onnxwright.files import data_file, digest, is_inside, places
from onnxwright.manifest import FILE_NAME, SCHEMA, Manifest, Proof, Variant, from_json, to_json
from onnxwright.nvidia.placed import Placed
from onnxwright.nvidia.profiles import shaped
from onnxwright.profile import Profile
from onnxwright.signature import Signature
from onnxwright.staging import write_last

_ON_THE_CPU = frozenset({"onnxruntime", "openvino"})
_REMEDY = "`onnxwright convert SOURCE -o DIR` writes a package."


class PackageSession:
    """A package's graph in an engine that it was proven with, held to the range of that proof."""

    def __init__(self, session: Session, signature: Signature, proof: Proof):
        self._session = session
        self._signature = signature
        self._proof = proof
        self._range = {dim: proof.range[dim] for dim in signature.dims}

    @property
    def ran(self) -> Ran:
        """What runs: the engine, its version, threads and the digest of the file."""
        return self._session.ran

    @property
    def range(self) -> dict[str, tuple[int, int]]:
        """Least and most proven size of each dim, both included."""
        return dict(self._range)

    @property
    def proof(self) -> Proof:
        """What was proven of the graph in this engine."""
        return self._proof

    @property
    def signature(self) -> Signature:
        """What goes in and out."""
        return self._signature

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`.

        Raises:
            SignatureError: when the feeds don't fit the signature.
            OutOfRangeError: when a size lies outside the range that was proven for this engine.
        """
        self._check(self._signature.bind(feeds))
        return self._session.run(feeds)

    def run_on_device(self, feeds: Mapping[str, Any]) -> dict[str, Placed]:
        """Answers with tensors on the engine's GPU, and copies nothing that lies there already.

        Feeds are numpy arrays, or tensors that offer DLPack or `__cuda_array_interface__`, as PyTorch's do.

        Raises:
            EngineError: when the engine has no memory of its own.
            SignatureError, OutOfRangeError: as `run`.
        """
        if not isinstance(self._session, DeviceSession):
            raise EngineError(f"{self.ran.backend} takes arrays in main memory only. Use `run`.")
        self._check(self._signature.bind_tensors(feeds))
        return self._session.run_on_device(feeds)

    def _check(self, sizes: Mapping[str, int]) -> None:
        for dim, size in sizes.items():
            least, most = self._range[dim]
            if not least <= size <= most:
                raise OutOfRangeError(
                    f"dim '{dim}': got size {size}, proven for {least} to {most}. "
                    "Feed a size in that range, or convert with a wider one."
                )


@dataclass(frozen=True)
class Package:
    """A folder that `convert` wrote: graphs, what was proven of them, and what is needed to run them."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> Package:
        """Opens a package.

        Raises:
            SourceError: when the folder is missing, is not a package, or lacks a file that its manifest names.
        """
        folder = environment.at_home(folder)
        manifest = _read_manifest(folder)
        if manifest.default.variant not in manifest.variants:
            raise _broken(folder, f"its default variant '{manifest.default.variant}' is not among its variants")
        for variant in manifest.variants.values():
            _check_member(folder, variant.file)
        if manifest.evidence is not None:
            member(folder, manifest.evidence.file)
        return cls(folder, manifest)

    @property
    def signature(self) -> Signature:
        """What goes in and out."""
        return self.manifest.signature

    @property
    def proof(self) -> Proof:
        """What was proven of the default variant."""
        return self.manifest.proof

    @property
    def profile(self) -> Profile:
        """The range for which the package was asked."""
        return Profile(self.manifest.profile)

    @property
    def task(self) -> str | None:
        """What the model is for, or None when it is no task that is known."""
        return self.manifest.task

    def file(self, variant: str | None = None) -> Path:
        """Returns the ONNX file of a variant, of the default one unless told.

        Raises:
            UsageError: when the package has no such variant.
        """
        return self.folder / self._variant(variant).file

    def proven_file(self, variant: str | None = None) -> Path:
        """Returns the ONNX file of a variant, which is the one that was proven.

        Raises:
            UsageError: when the package has no such variant.
            SourceError: when the file was altered.
        """
        file = self.file(variant)
        self._check_unaltered(file, self._variant(variant))
        return file

    def session(
        self,
        engine: str = "auto",
        variant: str | None = None,
        threads: int | None = None,
        *,
        allow_fallback: bool = False,
    ) -> PackageSession:
        """Makes a variant ready to run: in the package's own engine, or in another that it was proven with.

        Unless told, it is the default variant, or one that was proven with the engine asked for. With `allow_fallback`,
        an engine for GPUs may compute on the CPU what it has no kernel for.

        Raises:
            EngineError: when the engine is unknown, not available, or not one that the variant was proven with; or when
                the processor would add up its products of int8 otherwise than the one that it was proven on.
            SourceError: when the file is not the one that was proven.
        """
        variant = variant or self._variant_for(engine)
        chosen = self._variant(variant)
        proofs = _proofs(chosen)
        name = _first_available(self.manifest.default.engine, proofs) if engine == "auto" else engine
        backends.engine(name)
        if name not in proofs:
            known = ", ".join(proofs) or "none"
            raise EngineError(f"engine '{name}': not proven for this package. Proven: {known}. Use one of these.")
        file = self.proven_file(variant)
        self._check_range(proofs[name])
        self._check_processor(variant, name)
        is_built = name in backends.builders()
        shapes = shaped(self.signature, self.profile.within(proofs[name].range)) if is_built else {}
        options = Options(
            threads or environment.cores(), chosen.execution, shapes=shapes, allows_fallback=allow_fallback
        )
        session = fitted(prepared(name, file, options), self.signature, chosen.io)
        return PackageSession(session, self.signature, proofs[name])

    def engines(self, variant: str | None = None) -> list[str]:
        """Returns the engines with which a variant was proven and that are available here, the default one first.

        Unless told, of every variant.

        Raises:
            EngineError: when there is none.
        """
        asked = self.manifest.variants if variant is None else [variant]
        proofs = {name: proof for one in asked for name, proof in _proofs(self._variant(one)).items()}
        first = _first_available(self.manifest.default.engine, proofs)
        known = backends.engines()
        rest = [name for name in proofs if name != first and name in known and known[name].available() is None]
        return [first, *rest]

    def _variant_for(self, engine: str) -> str:
        """The default variant, or the first one that was proven with an engine with which that one was not."""
        names = (self.manifest.default.variant, *self.manifest.variants)
        return next((name for name in names if engine in _proofs(self.manifest.variants[name])), names[0])

    def _variant(self, name: str | None) -> Variant:
        name = name or self.manifest.default.variant
        if name not in self.manifest.variants:
            expected = accepted(name, self.manifest.variants)
            raise UsageError(f"variant '{name}': this package has no such variant; expected {expected}.")
        return self.manifest.variants[name]

    def _check_unaltered(self, file: Path, variant: Variant) -> None:
        found = digest(file)
        if found != variant.sha256:
            raise SourceError(
                f"file '{variant.file}' was altered: expected sha256 {variant.sha256}, got {found}. "
                "What was proven was another file; convert again."
            )

    def _check_range(self, proof: Proof) -> None:
        missing = [dim for dim in self.signature.dims if dim not in proof.range]
        if missing:
            raise _broken(self.folder, f"its proof has no range for dim '{missing[0]}'")

    def _check_processor(self, variant: str, engine: str) -> None:
        made = self.manifest.quantizations.get(engine) if engine in _ON_THE_CPU else None
        if made is None or made.variant != variant or not made.instructions or environment.saturates(made.instructions):
            return
        is_of_products = any(one.outcome == "kept" and one.recipe.startswith("int8") for one in made.candidates)
        if is_of_products and environment.saturates():
            raise EngineError(
                f"variant '{variant}': proven where products of int8 are added up in 32 bits "
                f"({', '.join(made.instructions)}), and this processor adds them up in 16, where they overflow. "
                "Use another variant, or quantize on a processor like this one: what is made there is right on both."
            )


def prepared(name: str, file: Path, options: Options) -> Session:
    """Loads a graph into an engine; one that is built of it gets the types that it lacks as others.

    Raises:
        EngineError: when it refuses the graph.
    """
    if name not in backends.builders():
        return backends.engine(name).prepare(file, options)
    from onnxwright.graph.bounding import handed

    with handed(file) as (taken, declared):
        return backends.engine(name).prepare(taken, msgspec.structs.replace(options, declared=declared))


def is_package(folder: Path) -> bool:
    """Whether a folder says that it is a package."""
    return (folder / FILE_NAME).is_file()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `onnxwright.json`, by which a folder is a package: last of all."""
    write_last(folder / FILE_NAME, to_json(manifest))


def member(folder: Path, name: str) -> Path:
    """Returns a file of a model folder by its relative name, links followed.

    The one way out of the folder is the hub cache's own: `snapshots/REVISION/NAME` links into `blobs` beside
    `snapshots`.

    Raises:
        SourceError: when the name or a link leads anywhere else, or to nothing.
    """
    target = (folder / name).resolve()
    homes = [folder.resolve()]
    if homes[0].parent.name == "snapshots":
        homes.append(homes[0].parent.parent / "blobs")
    if not any(target.is_relative_to(home) for home in homes):
        raise SourceError(f"file '{name}' leads out of the folder '{folder}'. Put the file itself there.")
    if not target.is_file():
        raise SourceError(f"file '{name}' is missing in '{folder}'. Copy the folder again, or convert again.")
    return target


def _check_member(folder: Path, name: str) -> None:
    member(folder, name)
    for place in _places(folder / name):
        if not is_inside(place):
            raise SourceError(f"file '{name}': its data '{place}' leads out of the folder '{folder}'. Convert again.")
        member(folder, (Path(name).parent / place).as_posix())


def _places(file: Path) -> set[str]:
    """Where weights of a graph lie, as it says or as it is usual; an altered graph is told of when it is run."""
    usual = data_file(file)
    beside = {usual.name} if usual.is_symlink() or usual.exists() else set()
    with contextlib.suppress(ValueError):
        beside |= places(file)
    return beside


def _read_manifest(folder: Path) -> Manifest:
    if not folder.exists():
        raise SourceError(f"package '{folder}': no such folder. {_REMEDY}")
    file = folder / FILE_NAME
    if not file.is_file():
        raise SourceError(f"'{folder}' is not a package: it has no {FILE_NAME}. {_REMEDY}")
    content = file.read_bytes()
    try:
        schema = msgspec.json.decode(content, type=_Versioned).schema
        if schema != SCHEMA:
            raise SourceError(
                f"package '{folder}' has schema {schema}, this version reads {SCHEMA}. "
                "Use the version of onnxwright that wrote it, or convert again."
            )
        return from_json(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as reason:
        raise _broken(folder, str(reason)) from reason


class _Versioned(msgspec.Struct):
    schema: int


def _broken(folder: Path, reason: str) -> SourceError:
    return SourceError(f"package '{folder}': {FILE_NAME} is not whole: {reason}. Copy it again, or convert again.")


def _proofs(variant: Variant) -> dict[str, Proof]:
    return {
        name: found.proof
        for name, found in variant.engines.items()
        if found.executed and found.proof is not None and found.proof.verdict != "failed"
    }


def _first_available(default: str, proofs: Mapping[str, Proof]) -> str:
    known = backends.engines()
    reasons = []
    for name in sorted(proofs, key=lambda name: name != default):
        reason = known[name].available() if name in known else "unknown to this version"
        if reason is None:
            return name
        reasons.append(f"{name}: {reason}")
    tried = "; ".join(reasons) or "it was proven with none"
    raise EngineError(f"no engine that this package was proven with is available here ({tried}). Install one of them.")
