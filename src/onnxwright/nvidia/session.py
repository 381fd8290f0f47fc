"""An engine on a GPU: loaded once, its buffers reused, the profile chosen by the shapes that come."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxwright.backends import Array, Ran, Tensors, check_names
from onnxwright.errors import EngineError
from onnxwright.nvidia.buffers import Buffers
from onnxwright.nvidia.casting import Types, as_declared, as_taken
from onnxwright.nvidia.driver import Driver
from onnxwright.nvidia.growing import Growing, allocator
from onnxwright.nvidia.libraries import Library
from onnxwright.nvidia.orders import Shaped, Shapes
from onnxwright.nvidia.placed import Placed, Stream, placed
from onnxwright.nvidia.profiles import fitting

_NAMES: Final = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
"""Names of TensorRT's types that numpy has others for."""
_PRECISIONS: Final = ("int8", "bfloat16", "float16", "float32")


class EngineSession:
    """An engine that is ready to answer on the first GPU. Calls from several threads wait for each other.

    Raises:
        EngineError: when the library or this GPU refuses the engine, as one built by another version.
    """

    def __init__(
        self,
        library: Library,
        engine: Path,
        *,
        sha256: str,
        precision: str = "float32",
        declared: Types | None = None,
    ):
        self._driver = Driver()
        self._driver.enter()
        self._trt = library.load()
        self._log = _log(self._trt)
        runtime = self._trt.Runtime(self._log)
        self._engine = runtime.deserialize_cuda_engine(engine.read_bytes())
        if self._engine is None:
            raise EngineError(
                f"{library.engine} refuses the engine '{engine.name}': {self._log.last()} Engines are valid for one "
                "version of the library and the GPUs that they were built for: build it again here."
            )
        self._context = self._engine.create_execution_context()
        self._stream = Stream(self._driver, self._driver.new_stream())
        self._buffers = Buffers(self._driver)
        self._growing = Growing(self._buffers)
        self._allocator = allocator(self._trt, self._growing)
        self._declared = declared or {}
        self._lock = threading.Lock()
        self._profile = 0
        self._read: dict[str, Placed] = {}
        """What the last call reads: kept until the stream is done with it."""
        names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT for name in names}
        self._inputs = {name: self._dtype(name) for name in names if is_input[name]}
        self._outputs = {name: self._dtype(name) for name in names if not is_input[name]}
        self._profiles = [self._shaped(place) for place in range(self._engine.num_optimization_profiles)]
        self._ran = Ran(library.engine, self._trt.__version__, self._driver.name(), precision, 1, sha256)

    @property
    def ran(self) -> Ran:
        """What runs: the library and its version, and the GPU."""
        return self._ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`; arrays of the caller's are copied to the GPU.

        Raises:
            EngineError: when a feed is missing or unknown, or it fails.
            SignatureError: when a feed is of another type than the engine's input.
            OutOfRangeError: when no profile of the engine holds the shapes.
        """
        with self._lock:
            given = self._enqueue(as_taken(feeds, self._declared, self._inputs))
            answers = {name: np.empty(one.shape, one.dtype) for name, one in given.items()}
            for name, one in given.items():
                self._driver.to_host(answers[name].ctypes.data, one.address, one.nbytes, self._stream.number)
            self._stream.wait()
        return as_declared(answers, self._declared)

    def run_on_device(self, feeds: Mapping[str, Any]) -> dict[str, Placed]:
        """Answers with tensors on the GPU; feeds that lie there are read where they lie, what makes them awaited.

        What it answers is valid until the next call.

        Raises:
            EngineError: as `run`.
            SignatureError: when a tensor has another type, lies on another GPU, or isn't contiguous.
        """
        with self._lock:
            given = self._enqueue(feeds)
            self._stream.wait()
        return given

    def _enqueue(self, feeds: Mapping[str, Any]) -> dict[str, Placed]:
        check_names(self._ran.backend, self._inputs, feeds)
        self._driver.enter()
        self._read = {name: self._there(name, feeds[name]) for name in self._inputs}
        self._choose({name: one.shape for name, one in self._read.items()})
        for name, one in self._read.items():
            self._must(self._context.set_input_shape(name, one.shape), f"input '{name}' of shape {list(one.shape)}")
            self._must(self._context.set_tensor_address(name, one.address), f"the address of input '{name}'")
        self._growing.begin()
        given = {name: self._reserved(name) for name in self._outputs}
        self._must(self._context.execute_async_v3(self._stream.number), "to run")
        if None in given.values():
            self._stream.wait()
        return {name: one or self._growing.answer(name, self._outputs[name]) for name, one in given.items()}

    def _there(self, name: str, feed: Any) -> Placed:
        """A feed on the GPU, where it lies or copied, with what keeps its memory."""
        one = placed(name, feed, self._inputs[name], self._stream)
        if one.device == "cuda":
            return one
        address = self._buffers.of(name, one.nbytes)
        self._driver.to_device(address, one.address, one.nbytes, self._stream.number)
        return replace(one, address=address, device="cuda")

    def _reserved(self, name: str) -> Placed | None:
        """Where an output goes; None where its size depends on values, so that the engine asks for memory itself."""
        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            self._must(self._context.set_output_allocator(name, self._allocator), f"memory for output '{name}'")
            return None
        one = Placed(0, shape, self._outputs[name])
        one = replace(one, address=self._buffers.of(name, one.nbytes))
        self._must(self._context.set_tensor_address(name, one.address), f"the address of output '{name}'")
        return one

    def _choose(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Changes to the profile that these shapes need."""
        place = fitting(self._profiles, shapes) if self._profiles else 0
        if place != self._profile:
            self._must(self._context.set_optimization_profile_async(place, self._stream.number), f"profile {place}")
            self._profile = place

    def _must(self, done: Any, what: str) -> None:
        if not done:
            raise EngineError(f"{self._ran.backend} refuses {what}: {self._log.last()}")

    def _dtype(self, name: str) -> np.dtype[Any]:
        kind = str(self._engine.get_tensor_dtype(name)).rpartition(".")[2]
        if kind == "BF16":
            import ml_dtypes

            narrow: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
            return narrow
        return np.dtype(_NAMES.get(kind, kind.lower()))

    def _shaped(self, place: int) -> Shaped:
        shapes = {name: self._engine.get_tensor_profile_shape(name, place) for name in self._inputs}
        return {name: Shapes(*(tuple(one) for one in three)) for name, three in shapes.items() if len(three) == 3}


def coarsest(precision: Mapping[str, int]) -> str:
    """Returns the coarsest type among weights, by which an engine's precision is called."""
    return next((kind for kind in _PRECISIONS if precision.get(kind)), "float32")


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]  # a class of the library, which has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._last = ""

        def log(self, severity: Any, message: str) -> None:
            """Keeps the last complaint."""
            if str(severity).rpartition(".")[2] in {"ERROR", "INTERNAL_ERROR"}:
                self._last = " ".join(message.split())

        def last(self) -> str:
            """Returns it."""
            return self._last or "it gives no reason."

    return Log()
