"""ONNX Runtime on the CPU."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from onnxwright.backends import Array, Backend, Options, Ran, Session, Tensors, check_precision
from onnxwright.errors import EngineError
from onnxwright.files import AS_WRITTEN_TOLD, digest, is_as_written, outline

# <ir_version: 8, opset_import: ["" : 17]> g (float16[2, 2] x) => (float16[2, 2] y) { y = MatMul (x, x) }
_PRODUCT: Final = bytes.fromhex(
    "08083a420a130a01780a01781201792206"
    "4d61744d756c3a001201675a130a017812"
    "0e0a0c080a12080a0208020a0208026213"
    "0a0179120e0a0c080a12080a0208020a02"
    "080242040a001011"
)


def answers(session: Any, outputs: list[str], feeds: Tensors, calls: Any = None) -> dict[str, Array]:
    """Runs a session of ONNX Runtime's own, with options for the call where there are some.

    Raises:
        EngineError: when a feed is missing, unknown, or of another type or rank than the graph's input.
    """
    with telling_refusals():
        return dict(zip(outputs, session.run(outputs, feeds, calls), strict=True))


@contextlib.contextmanager
def telling_refusals() -> Iterator[None]:
    """Has a call of ONNX Runtime that fails be told as a refusal of its inputs.

    Raises:
        EngineError: when it fails.
    """
    try:
        yield
    except Exception as refusal:  # every failure of the C++ side has a type of its own
        raise EngineError(f"ONNX Runtime refuses these inputs: {refusal}") from refusal


def type_of(value: Any) -> str:
    """Names the element type of an input or output of a session of ONNX Runtime's own."""
    kind: str = value.type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(kind, kind)


class OnnxRuntimeSession:
    """A graph loaded by ONNX Runtime; without its optimizations it computes node by node what the file says.

    Raises:
        EngineError: when ONNX Runtime refuses the graph.
    """

    def __init__(self, file: Path, options: Options, *, is_optimized: bool = True):
        self._session = _load(file, options, is_optimized=is_optimized)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._ran = _describe(self._session, file, is_optimized=is_optimized)
        self._calls = _thrifty() if options.is_thrifty else None

    @property
    def ran(self) -> Ran:
        """What runs. The precision is the type in which the file keeps most of its weights."""
        return self._ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`.

        Raises:
            EngineError: when a feed is missing, unknown, or of another type or rank than the graph's input.
        """
        return answers(self._session, self._outputs, feeds, self._calls)


class OnnxRuntime:
    """ONNX Runtime, which executes a graph in the types that the file declares."""

    name = "onnxruntime"
    precisions: tuple[str, ...] = ("float32",)

    def available(self) -> str | None:
        """Returns why ONNX Runtime can't be used here, or None when it can."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "the package 'onnxruntime' is not installed; install it with `pip install \"onnxruntime\"`."
        return None

    def prepare(self, file: Path, options: Options) -> Session:
        """Loads an ONNX file.

        Raises:
            EngineError: when ONNX Runtime refuses the graph, or for an unknown precision.
        """
        check_precision(self, options.precision)
        return OnnxRuntimeSession(file, options)


BACKEND: Backend = OnnxRuntime()


def _load(file: Path, options: Options, *, is_optimized: bool) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    # Its own default computes products with quantized weights in int8: the activations would be quantized too.
    settings.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    # Idle workers that spin would slow down whatever runs next in this process.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    if is_as_written(file, BACKEND.name):
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    if not is_optimized:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # In the order of the file: its own would hold all at once that is computed of weights alone, as casts of them.
        settings.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        if options.is_thrifty:
            # Weights that are arranged anew for kernels would be there twice: those in a file of their own are mapped.
            settings.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    except Exception as refusal:  # every failure of the C++ side has a type of its own
        raise EngineError(f"ONNX Runtime refuses '{file.name}': {refusal}") from refusal


def _thrifty() -> Any:
    import onnxruntime

    calls = onnxruntime.RunOptions()
    calls.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return calls


def _describe(session: Any, file: Path, *, is_optimized: bool) -> Ran:
    import onnxruntime

    precision = outline(file).precision or _boundary_type(session)
    return Ran(
        backend=BACKEND.name,
        version=onnxruntime.__version__,
        provider=session.get_providers()[0] + _limits(file, is_optimized=is_optimized),
        precision=precision,
        threads=session.get_session_options().intra_op_num_threads,
        sha256=digest(file),
        computed="float32" if precision == "float16" and not _multiplies_in_float16() else "",
    )


def _limits(file: Path, *, is_optimized: bool) -> str:
    """What the runtime was told to leave alone, in words."""
    if not is_optimized:
        return " (graph optimizations off)"
    return f" ({AS_WRITTEN_TOLD})" if is_as_written(file, BACKEND.name) else ""


@functools.cache
def _multiplies_in_float16() -> bool:
    """Whether there is a kernel for products in float16 on this processor: where there is none, casts stand around."""
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="onnxwright-") as folder:
        settings, file = onnxruntime.SessionOptions(), Path(folder) / "product.onnx"
        settings.optimized_model_filepath = str(file)
        settings.log_severity_level = 4
        onnxruntime.InferenceSession(_PRODUCT, settings, providers=["CPUExecutionProvider"])
        return b"Cast" not in file.read_bytes()


def _boundary_type(session: Any) -> str:
    return type_of(session.get_outputs()[0])
