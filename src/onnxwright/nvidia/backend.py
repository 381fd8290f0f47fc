"""TensorRT as a backend: builds anywhere that its library does, and runs where there is a GPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from onnxwright import dtypes
from onnxwright.errors import EngineError
from onnxwright.files import digest, outline
from onnxwright.nvidia.asking import SECONDS, ask
from onnxwright.nvidia.libraries import LIBRARIES, Library
from onnxwright.nvidia.orders import Answer, Order, Settings

if TYPE_CHECKING:
    from onnxwright.backends import Options, Session


class TensorRt:
    """One of the two libraries. Graphs are computed in the types that they declare; there is no other precision."""

    precisions: tuple[str, ...] = ("float32",)

    def __init__(self, engine: str):
        self.name = engine
        self._library: Library = LIBRARIES[engine]

    def available(self) -> str | None:
        """Returns why no engine can be run here (library, driver or GPU), or None when one can."""
        return self._library.unfit()

    def buildable(self) -> str | None:
        """Returns why no engine can be built here, or None when one can."""
        return self._library.unbuildable()

    def build(
        self,
        file: Path,
        settings: Settings,
        engine: Path | None = None,
        *,
        operators: tuple[str, ...] = (),
        seconds: float = SECONDS,
    ) -> Answer:
        """Parses an ONNX file, and builds an engine where `engine` says where to; in a process of its own.

        Raises:
            CrashError: when that process dies, or takes longer than `seconds`.
        """
        place = None if engine is None else str(engine.absolute())
        return ask(Order(self.name, str(file.absolute()), settings, place, operators), seconds=seconds)

    def prepare(self, file: Path, options: Options) -> Session:
        """Builds an engine for the GPU at hand, and loads it.

        Raises:
            EngineError: when the graph is refused, or there is no GPU.
        """
        from onnxwright.nvidia.session import EngineSession, coarsest

        with tempfile.TemporaryDirectory() as folder:
            engine = Path(folder) / "model.engine"
            profiles = (options.shapes,) if options.shapes else ()
            answer = self.build(file, Settings(profiles=profiles), engine)
            if not answer.is_built:
                raise EngineError(refusal(self.name, answer))
            declared = {name: dtypes.to_numpy(kind) for name, kind in options.declared.items()}
            precision = coarsest(precision_of(file))
            return EngineSession(self._library, engine, sha256=digest(file), precision=precision, declared=declared)


def precision_of(file: Path) -> dict[str, int]:
    """Counts the weights of a graph by their element type: what says in which precision it computes."""
    counts = {dtypes.from_onnx(code): count for code, count in outline(file).weights.items() if count}
    return dict(sorted(counts.items(), key=lambda one: -one[1]))


def refusal(name: str, answer: Answer) -> str:
    """Says in one line a node why there is no engine, in words that repairs read."""
    nodes = [
        *(f"{name} refuses node '{one.node or one.place}' ({one.operator}): {one.reason}" for one in answer.refused),
        *(f"{name} refuses operator ({one}): its parser doesn't have it" for one in answer.lacking),
    ]
    if nodes:
        return "\n".join(dict.fromkeys(nodes))
    stage = "builds no engine" if answer.is_parsed else "refuses the graph"
    return f"{name} {stage}: {answer.problem or 'it gives no reason.'}"
