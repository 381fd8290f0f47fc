"""Outputs whose size depends on values: an engine asks for their memory, and says how large they are, while it runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwright.errors import EngineError
from onnxwright.nvidia.buffers import Buffers
from onnxwright.nvidia.placed import Placed


class Growing:
    """What an engine was given for such outputs, and the shapes that it told."""

    def __init__(self, buffers: Buffers):
        self._buffers = buffers
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._problem: EngineError | None = None

    def begin(self) -> None:
        """Forgets what a call before was told."""
        self._shapes.clear()
        self._problem = None

    def reserve(self, name: str, size: int) -> int:
        """Returns the address of so many bytes; 0, which the engine takes for a refusal, where there is no memory."""
        try:
            self._addresses[name] = self._buffers.of(name, size)
        except EngineError as problem:  # raised later, since nothing may be raised through the library
            self._problem = problem
            return 0
        return self._addresses[name]

    def tell(self, name: str, shape: tuple[int, ...]) -> None:
        """Notes the shape of an output."""
        self._shapes[name] = shape

    def answer(self, name: str, dtype: np.dtype[Any]) -> Placed:
        """Returns an output where it lies, once the engine is done.

        Raises:
            EngineError: when there was no memory for it, or the engine has said nothing of it.
        """
        if self._problem is not None:
            raise self._problem
        if name not in self._shapes or name not in self._addresses:
            raise EngineError(f"the engine says nothing of the size of output '{name}'. Use onnxruntime.")
        return Placed(self._addresses[name], self._shapes[name], dtype)


def allocator(trt: Any, growing: Growing) -> Any:
    """Returns what a library calls for the memory of such outputs; keep it as long as the engine runs."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]  # a class of the library, which has no types
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output_async(self, tensor_name: str, _: Any, size: int, *how: Any) -> int:  # noqa: ARG002 - the library's signature
            """Gives memory, which the driver aligns to more than any library asks for."""
            return growing.reserve(tensor_name, size)

        def reallocate_output(self, tensor_name: str, _: Any, size: int, *how: Any) -> int:  # noqa: ARG002 - the library's signature
            """Gives memory."""
            return growing.reserve(tensor_name, size)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            """Takes the shape."""
            growing.tell(tensor_name, tuple(shape))

    return Allocator()
