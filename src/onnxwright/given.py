"""A graph that is itself the reference: computed node by node, as the file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnxwright.backends import Array, Options, Ran, Session, Tensors
from onnxwright.errors import EngineError, ForwardError
from onnxwright.files import digest, outline


class GivenSession:
    """ONNX Runtime without its optimizations; where it doesn't load the graph, ONNX's own reference implementation.

    Raises:
        ForwardError: when the graph can't be run.
    """

    def __init__(self, file: Path, *, threads: int):
        from onnxwright.backends.onnxruntime import OnnxRuntimeSession

        try:
            self._session: Session = OnnxRuntimeSession(file, Options(threads), is_optimized=False)
        except EngineError as problem:
            try:
                self._session = _Definitions(file)
            except Exception:  # noqa: BLE001 - it raises types of its own; ONNX Runtime's refusal is the one to tell
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
