"""A graph that is itself the reference: computed node by node, as the file says."""

from __future__ import annotations

from pathlib import Path

from onnxwright.backends import Array, Options, Ran, Tensors
from onnxwright.errors import EngineError, ForwardError


class GivenSession:
    """ONNX Runtime without its optimizations; what it refuses, the graph itself refuses.

    Raises:
        ForwardError: when the graph can't be run.
    """

    def __init__(self, file: Path, *, threads: int):
        from onnxwright.backends.onnxruntime import OnnxRuntimeSession

        try:
            self._session = OnnxRuntimeSession(file, Options(threads), is_optimized=False)
        except EngineError as problem:
            raise ForwardError(f"the graph itself can't be run: {problem}") from problem

    @property
    def ran(self) -> Ran:
        """What runs."""
        return self._session.ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`.

        Raises:
            ForwardError: when the graph refuses these inputs.
        """
        try:
            return self._session.run(feeds)
        except EngineError as refusal:
            raise ForwardError(str(refusal)) from refusal
