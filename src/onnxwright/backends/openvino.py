"""OpenVINO on the CPU, in float32 and in bfloat16."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from onnxwright.backends import Array, Backend, Options, Ran, Session, Tensors, check_names, check_precision
from onnxwright.errors import EngineError
from onnxwright.files import AS_WRITTEN_TOLD, digest, is_as_written, outline

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_NAMES = {"i8": "int8", "u8": "int8", "bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64"}
"""Names of the precisions in which nodes run, the coarsest first."""
_PRODUCTS = frozenset({"FullyConnected", "MatMul", "Convolution", "Deconvolution", "RNNCell", "RNNSeq", "MHA"})
_MOVES = frozenset({"Const", "Input", "Output", "Reorder", "Convert"})
"""Nodes that carry values or change their type, and compute nothing."""
_IN_WHOLE_NUMBERS = "LP_TRANSFORMS_MODE"
"""The CPU plug-in's property by which it makes operators in whole numbers of quantized ones; it has no public name."""
_INT64 = np.dtype(np.int64)
_INT32_MOST = 2**31 - 1


class OpenVinoSession:
    """A graph compiled by OpenVINO. Calls from several threads wait for each other.

    Raises:
        EngineError: when OpenVINO refuses the graph, or the processor lacks the precision.
    """

    def __init__(self, file: Path, options: Options):
        names = _outline(file)
        compiled = _compile(file, options)
        inputs = _ports(names.inputs, compiled.inputs, file)
        outputs = _ports(names.outputs, compiled.outputs, file)
        self._request = compiled.create_infer_request()
        self._inputs = {name: _Input(name, self._request, port) for name, port in inputs.items()}
        self._outputs = sorted(outputs, key=lambda name: outputs[name].position)
        self._lock = threading.Lock()
        self._ran = _describe(compiled, file)

    @property
    def ran(self) -> Ran:
        """What runs. The precision is the coarsest one in which a node of the compiled graph really runs."""
        return self._ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`; the arrays are the caller's own.

        Raises:
            EngineError: when a feed is missing, unknown, or of another type or shape than the graph's input.
        """
        check_names("OpenVINO", self._inputs, feeds)
        try:
            with self._lock:
                for name, tensor in self._inputs.items():
                    tensor.fill(feeds[name])
                answers = self._request.infer(share_outputs=False).to_tuple()
        except RuntimeError as refusal:
            raise EngineError(f"OpenVINO refuses these inputs: {refusal}") from refusal
        return dict(zip(self._outputs, answers, strict=True))


class _Port(NamedTuple):
    position: int
    dtype: np.dtype[Any]
    element_type: Any


class _Input:
    """Memory of ours that the engine reads an input from; it is kept as long as the shape stays the same."""

    def __init__(self, name: str, request: Any, port: _Port):
        self._name = name
        self._request = request
        self._port = port
        self._memory: Array | None = None

    def fill(self, array: Array) -> None:
        _check(self._name, array, self._port.dtype)
        if self._memory is None or self._memory.shape != array.shape:
            self._memory = self._reserve(array.shape)
        self._memory[...] = array

    def _reserve(self, shape: tuple[int, ...]) -> Array:
        from openvino import Tensor

        tensor = Tensor(self._port.element_type, shape)
        self._request.set_input_tensor(self._port.position, tensor)
        memory: Array = tensor.data
        return memory


class OpenVino:
    """OpenVINO, which executes float32 graphs in float32 or, where the processor can, in bfloat16."""

    name = "openvino"
    precisions: tuple[str, ...] = tuple(_HINTS)

    def available(self) -> str | None:
        """Returns why OpenVINO can't be used here, or None when it can."""
        if importlib.util.find_spec("openvino") is None:
            return "the package 'openvino' is not installed; install it with `pip install \"onnxwright[openvino]\"`."
        return None

    def prepare(self, file: Path, options: Options) -> Session:
        """Compiles an ONNX file.

        Raises:
            EngineError: when OpenVINO refuses the graph, for an unknown precision, or one the processor lacks.
        """
        check_precision(self, options.precision)
        return OpenVinoSession(file, options)


BACKEND: Backend = OpenVino()


@functools.cache
def _core() -> Any:
    from openvino import Core

    return Core()


def _outline(file: Path) -> Any:
    # OpenVINO would offer a broken file to the parsers of every other format it knows.
    try:
        return outline(file)
    except (OSError, ValueError) as broken:
        raise EngineError(f"OpenVINO can't read '{file.name}' as ONNX: {broken}. Export it again.") from broken


def _compile(file: Path, options: Options) -> Any:
    if options.precision == "bfloat16" and "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineError("OpenVINO can't run in bfloat16: this processor has no instructions for it. Use float32.")
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": options.threads,
        # Without it, a processor with bfloat16 instructions computes float32 graphs in bfloat16.
        "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
    }
    if is_as_written(file, BACKEND.name):
        settings[_IN_WHOLE_NUMBERS] = "NO"
    try:
        return _core().compile_model(file, "CPU", settings)
    except RuntimeError as refusal:
        raise EngineError(f"OpenVINO refuses '{file.name}': {refusal}") from refusal


def _ports(names: Iterable[str], ports: Iterable[Any], file: Path) -> dict[str, _Port]:
    # A port may go by several names, and by another first one than the graph's.
    by_name = {name: (position, port) for position, port in enumerate(ports) for name in port.get_names()}
    found = {}
    for name in names:
        if name not in by_name:
            raise EngineError(f"OpenVINO has no tensor '{name}' in '{file.name}'; it has {', '.join(by_name)}.")
        position, port = by_name[name]
        kind = port.get_element_type()
        if kind.get_type_name() in {"bf16", "string"}:
            raise EngineError(f"OpenVINO can't exchange '{name}' of type {kind} with numpy. Cast it in the graph.")
        found[name] = _Port(position, np.dtype(kind.to_dtype()), kind)
    return found


def _check(name: str, array: Array, dtype: np.dtype[Any]) -> None:
    if array.dtype != dtype:
        raise EngineError(f"OpenVINO: input '{name}': expected {dtype}, got {array.dtype}. Cast it.")
    # The CPU plug-in computes int64 in int32, and would cut a larger number without a word.
    if dtype == _INT64 and not 0 <= np.bitwise_or.reduce(array, axis=None) <= _INT32_MOST and _is_cut(array):
        raise EngineError(
            f"OpenVINO: input '{name}' holds numbers beyond int32, in which it computes. Use onnxruntime."
        )


def _is_cut(array: Array) -> bool:
    return not np.array_equal(array, array.astype(np.int32))


def _describe(compiled: Any, file: Path) -> Ran:
    import openvino

    return Ran(
        backend=BACKEND.name,
        version=openvino.__version__.partition("-")[0],
        provider=", ".join(compiled.get_property("EXECUTION_DEVICES"))
        + (f" ({AS_WRITTEN_TOLD})" if is_as_written(file, BACKEND.name) else ""),
        precision=executed_precision(compiled),
        threads=compiled.get_property("INFERENCE_NUM_THREADS"),
        sha256=digest(file),
    )


def executed_precision(compiled: Any) -> str:
    """Returns the coarsest type in which a node of a compiled graph runs that computes something."""
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    ran = {(node["layerType"].value, node["runtimePrecision"].value) for node in nodes}
    products = {precision for kind, precision in ran if kind in _PRODUCTS}
    # Outside of products, an 8-bit type is a boolean.
    others = {precision for kind, precision in ran if kind not in _MOVES} - {"i8", "u8"}
    for precision, name in _NAMES.items():
        if precision in products | others:
            return name
    return str(np.dtype(compiled.outputs[0].get_element_type().to_dtype()))
