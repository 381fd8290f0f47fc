"""A built engine on disk: a folder with the engine, its build log, and what it is and is valid for, written last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from onnxwright import environment
from onnxwright.errors import EngineError, SourceError
from onnxwright.files import digest
from onnxwright.manifest import Proof
from onnxwright.nvidia.orders import Settings, Tensor
from onnxwright.staging import write_last

if TYPE_CHECKING:
    from onnxwright.nvidia.session import EngineSession

MANIFEST: Final = "engine.json"
ENGINE: Final = "model.engine"
LOG: Final = "build.log"
_REMEDY: Final = "`onnxwright build DIR --engine NAME` builds it again."


class EngineManifest(msgspec.Struct, frozen=True):
    """What an engine is: the library that built it, from which graph, for which GPUs and shapes.

    An engine is valid for this version of the library alone. `profile` says the range of each dim in each optimization
    profile, whose shapes are in `settings`. Where the library has an input or output in another type than the graph,
    `declared` says the graph's; a session casts. `precision` counts the weights of each element type. `rebuilt` says
    whether a second build gave the same bytes. `executed` is true only after a GPU has run it and `prove` has compared
    what it answered.
    """

    engine: str
    version: str
    onnx: str
    onnx_sha256: str
    sha256: str
    bytes: int
    settings: Settings
    profile: tuple[dict[str, tuple[int, int, int]], ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    precision: dict[str, int]
    layers: int
    parse_seconds: float
    build_seconds: float
    peak_bytes: int
    rebuilt: str
    environment: dict[str, str | int]
    executed: bool = False
    not_executed: str = ""
    """Why it was not run, where it was not."""
    proof: Proof | None = None
    schema: int = 1


@dataclass(frozen=True)
class Engine:
    """A folder that `build` wrote."""

    folder: Path
    manifest: EngineManifest

    @classmethod
    def open(cls, folder: str | Path) -> Engine:
        """Opens an engine's folder.

        Raises:
            SourceError: when there is none, or the engine is another one than its manifest says.
        """
        folder = environment.at_home(folder)
        file = folder / MANIFEST
        if not file.is_file():
            raise SourceError(f"'{folder}' holds no engine: it has no {MANIFEST}. {_REMEDY}")
        try:
            manifest = msgspec.json.decode(file.read_bytes(), type=EngineManifest)
        except msgspec.DecodeError as reason:
            raise SourceError(f"engine '{folder}': {MANIFEST} is not whole: {reason}. {_REMEDY}") from reason
        engine = folder / ENGINE
        if not engine.is_file() or digest(engine) != manifest.sha256:
            raise SourceError(f"engine '{folder}': {ENGINE} is missing or was altered. {_REMEDY}")
        return cls(folder, manifest)

    @property
    def file(self) -> Path:
        """The engine itself."""
        return self.folder / ENGINE

    def session(self) -> EngineSession:
        """Loads the engine on the first GPU, and keeps its buffers there from call to call.

        Raises:
            EngineError: when there is no GPU, or the library refuses the engine.
        """
        from onnxwright.nvidia.casting import declared_types
        from onnxwright.nvidia.libraries import LIBRARIES
        from onnxwright.nvidia.session import EngineSession, coarsest

        library, found = LIBRARIES[self.manifest.engine], self.manifest
        reason = library.unfit()
        if reason is not None:
            raise EngineError(f"engine '{found.engine}' is not available: {reason}")
        declared = declared_types(*found.inputs, *found.outputs)
        precision = coarsest(found.precision)
        return EngineSession(library, self.file, sha256=found.sha256, precision=precision, declared=declared)


def write_engine_manifest(folder: Path, manifest: EngineManifest) -> None:
    """Writes `engine.json`, by which a folder holds an engine: last of all."""
    write_last(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
