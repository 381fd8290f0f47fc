"""A graph that is itself the reference: computed node by node, as the file says."""

from __future__ import annotations

import functools
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from onnxwright.backends import Array, Options, Ran, Session, Tensors
from onnxwright.errors import EngineError, ForwardError
from onnxwright.files import digest, outline, size_of

FEW_BYTES: Final = 1 << 26
"""So many weights are loaded in no time, and kept."""
MOST_BYTES: Final = 1 << 30
"""More weights are not copied."""


class Shelf:
    """A folder, there as long as this is, with a graph and its weights beside that, for engines to map."""

    def __init__(self, graph: Path):
        self.graph = graph
        weakref.finalize(self, shutil.rmtree, graph.parent)

    @classmethod
    def of(cls, graph: Path) -> Shelf | None:
        """Puts a graph there; None where its weights are few, or too many to copy, or there is no room for them."""
        from onnxwright.graph.reading import write_apart

        if not FEW_BYTES < size_of(graph) <= MOST_BYTES:
            return None
        shelf = cls(Path(tempfile.mkdtemp(prefix="onnxwright-")) / graph.name)
        try:
            write_apart(graph, shelf.graph)
        except OSError:
            return None
        return shelf


class GivenSession:
    """ONNX Runtime without its optimizations; where it doesn't load the graph, ONNX's own reference implementation.

    It is loaded from `place`, where the graph lies as it is in its file; unless told, from a shelf if it's large.

    Raises:
        ForwardError: when the graph can't be run.
    """

    def __init__(self, file: Path, *, threads: int, place: Path | None = None):
        shelf = Shelf.of(file) if place is None else None
        self._place = shelf.graph if shelf is not None else place or file
        self._options = Options(threads, is_thrifty=size_of(file) > FEW_BYTES)
        ran = self._loaded.ran
        self._ran = ran if self._place == file else replace(ran, sha256=digest(file))

    @property
    def ran(self) -> Ran:
        """What runs."""
        return self._ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`.

        Raises:
            ForwardError: when the graph refuses these inputs.
        """
        try:
            return self._loaded.run(feeds)
        except EngineError as refusal:
            raise ForwardError(str(refusal)) from refusal

    def rest(self) -> None:
        """Lets go of all it holds in memory until it's asked again, which takes the graph to be where it was."""
        self.__dict__.pop("_loaded", None)

    @functools.cached_property
    def _loaded(self) -> Session:
        from onnxwright.backends.onnxruntime import OnnxRuntimeSession

        try:
            return OnnxRuntimeSession(self._place, self._options, is_optimized=False)
        except EngineError as problem:
            try:
                return _Definitions(self._place)
            except Exception:  # noqa: BLE001 - it raises types of its own; ONNX Runtime's refusal is the one to tell
                raise ForwardError(f"the graph itself can't be run: {problem}") from problem


class _Definitions:
    """`onnx.reference`: every operator as ONNX defines it, in numpy; slow, and without regard to what engines have."""

    def __init__(self, file: Path):
        import onnx
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(str(file))
        precision = outline(file).precision or "float32"
        self.ran = Ran("onnx.reference", onnx.__version__, "numpy", precision, 1, digest(file))

    def run(self, feeds: Tensors) -> dict[str, Array]:
        try:
            answers: Any = self._evaluator.run(None, dict(feeds))
        except Exception as refusal:  # operators raise whatever numpy raises
            raise EngineError(f"the reference implementation refuses these inputs: {refusal}") from refusal
        return dict(zip(self._evaluator.output_names, answers, strict=True))
