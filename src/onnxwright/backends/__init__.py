"""Runtimes that answer for a model: one a file, each offering `BACKEND`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import msgspec
import numpy as np

from onnxwright.discovery import offered
from onnxwright.errors import EngineError, accepted
from onnxwright.nvidia.orders import Answer, Settings, Shaped
from onnxwright.nvidia.placed import Placed

Array = np.ndarray[Any, np.dtype[Any]]
Tensors = Mapping[str, Array]
"""Tensors by name, as they are fed and answered."""


class Ran(msgspec.Struct, frozen=True):
    """What really ran: derived from the session, never from a flag.

    `computed` is the type in which it computes what is in `precision`, where it has no kernels for that.
    """

    backend: str
    version: str
    provider: str
    precision: str
    threads: int
    sha256: str | None = None
    computed: str = ""

    @property
    def types(self) -> str:
        """The precision, and in what that is computed, in words."""
        return f"{self.precision} computed in {self.computed}" if self.computed else self.precision


class Session(Protocol):
    """A model that is ready to answer."""

    @property
    def ran(self) -> Ran:
        """What runs."""

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`."""


@runtime_checkable
class DeviceSession(Protocol):
    """A session that reads tensors where they lie, on a GPU say, and answers there."""

    def run_on_device(self, feeds: Mapping[str, Any]) -> dict[str, Placed]:
        """Answers `{output name: tensor}` for `{input name: tensor}`; nothing that lies there already is copied."""


@runtime_checkable
class SteppingSession(Protocol):
    """A session that tells where on their grids it puts numbers that it quantizes on the way."""

    def steps(self, feeds: Tensors) -> list[Array]:
        """Returns the numbers on their grids, one array for each pair of nodes that does so, in the graph's order."""


class Options(msgspec.Struct, frozen=True):
    """How a session is prepared: how many threads, and the precision in which float32 graphs are executed.

    With `is_thrifty`, it gives memory back after each call, where the runtime can, and is slower for it. `shapes` says
    between which shapes each input lies, for a runtime that builds for them. Where it `allows_fallback`, a runtime for
    GPUs may compute on the CPU what it has no kernel for. `declared` are the types of inputs and outputs that a session
    casts from and to, by name, where the file has others than its callers.
    """

    threads: int
    precision: str = "float32"
    is_thrifty: bool = False
    shapes: Shaped = {}
    allows_fallback: bool = False
    declared: dict[str, str] = {}


class Backend(Protocol):
    """A runtime that can run ONNX files."""

    name: str
    precisions: tuple[str, ...]

    def available(self) -> str | None:
        """Returns why this backend can't be used here, or None when it can."""

    def prepare(self, file: Path, options: Options) -> Session:
        """Loads an ONNX file.

        Raises:
            EngineError: when the runtime refuses the graph.
        """


@runtime_checkable
class Builder(Protocol):
    """A runtime whose engines are built ahead of time, maybe on a machine that can't run them."""

    name: str

    def buildable(self) -> str | None:
        """Returns why no engine can be built here, or None when one can."""

    def build(self, file: Path, settings: Settings, engine: Path | None = None) -> Answer:
        """Parses an ONNX file and, where `engine` says where to, builds an engine; the answer says what came of it.

        Raises:
            EngineError: when the library can't be used here, or crashes.
        """


def builders() -> dict[str, Builder]:
    """Returns every backend that builds engines ahead of time, by name."""
    return {name: one for name, one in engines().items() if isinstance(one, Builder)}


def builder(name: str) -> Builder:
    """Returns a backend that can build engines here.

    Raises:
        EngineError: for an engine that is unknown, isn't built, or can't be built here.
    """
    known = builders()
    if name not in known:
        raise EngineError(f"engine '{name}' is not built ahead of time; expected {accepted(name, known)}.")
    reason = known[name].buildable()
    if reason:
        raise EngineError(f"engine '{name}' can't be built here: {reason}")
    return known[name]


def engines() -> dict[str, Backend]:
    """Returns every backend that runs ONNX files, by name."""
    return cast(dict[str, Backend], offered(__name__, "BACKEND"))


def engine(name: str) -> Backend:
    """Returns one backend, which is available here.

    Raises:
        EngineError: for an unknown engine, or one that can't be used here.
    """
    known = engines()
    if name not in known:
        raise EngineError(f"engine '{name}' is unknown; expected {accepted(name, known)}.")
    reason = known[name].available()
    if reason:
        raise EngineError(f"engine '{name}' is not available: {reason}")
    return known[name]


def check_names(label: str, expected: Iterable[str], feeds: Mapping[str, Any]) -> None:
    """Refuses feeds that aren't one for each input of a graph.

    Raises:
        EngineError: naming both, and the runtime by its `label`.
    """
    if feeds.keys() != set(expected):
        raise EngineError(f"{label}: expected inputs {', '.join(expected)}, got {', '.join(feeds)}.")


def check_precision(backend: Backend, precision: str) -> None:
    """Refuses a precision in which a backend can't execute.

    Raises:
        EngineError: naming those in which it can.
    """
    if precision not in backend.precisions:
        expected = accepted(precision, backend.precisions)
        raise EngineError(f"engine '{backend.name}' has no precision '{precision}'; expected {expected}.")
