"""ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from onnxwright.backends import Array, Options, Ran, Tensors
from onnxwright.errors import EngineError


class OnnxRuntimeSession:
    """A graph loaded by ONNX Runtime."""

    def __init__(self, file: Path, options: Options, *, is_optimized: bool = True):
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # Idle workers that spin would slow down whatever runs next in this process.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        if not is_optimized:
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
        except Exception as refusal:  # every failure of the C++ side has a type of its own
            raise EngineError(f"ONNX Runtime refuses '{file.name}': {refusal}") from refusal
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._ran = Ran(
            backend=BACKEND.name,
            version=onnxruntime.__version__,
            provider=self._session.get_providers()[0],
            precision=options.precision,
            threads=options.threads,
            sha256=digest(file),
        )

    @property
    def ran(self) -> Ran:
        """What runs."""
        return self._ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`."""
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))
