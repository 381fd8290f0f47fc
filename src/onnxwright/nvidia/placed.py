"""Tensors by where they lie, on a GPU or in main memory: read there, and not copied, whoever made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from onnxwright.dtypes import to_numpy
from onnxwright.errors import SignatureError
from onnxwright.nvidia import dlpack
from onnxwright.nvidia.driver import Driver

Device = Literal["cpu", "cuda"]
_DEVICES: Final[Mapping[int, Device]] = {
    dlpack.CPU: "cpu",
    dlpack.CUDA_HOST: "cpu",
    dlpack.CUDA: "cuda",
    dlpack.CUDA_MANAGED: "cuda",
}
_SINCE_STREAMS: Final = 3
"""The version of `__cuda_array_interface__` since which it says on which stream a tensor is computed."""


class Stream(NamedTuple):
    """Work that a GPU does in order."""

    driver: Driver
    number: int

    def wait(self) -> None:
        """Waits until all of it is done."""
        self.driver.wait(self.number)


@dataclass(frozen=True)
class Placed:
    """A tensor that others can use where it lies: `torch.as_tensor` and CuPy on a GPU, `numpy.asarray` elsewhere.

    What a session answers with `keeper` None is valid until its next call; else the keeper keeps it.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: Device = "cuda"
    keeper: Any = field(default=None, compare=False, repr=False)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> Mapping[str, Any]:
        """The tensor as numba, CuPy and PyTorch read it, if it lies on a GPU."""
        return self._interface("cuda")

    @property
    def __array_interface__(self) -> Mapping[str, Any]:
        """The tensor as numpy reads it, if it lies in main memory."""
        return self._interface("cpu")

    def _interface(self, device: Device) -> Mapping[str, Any]:
        if self.device != device:
            raise AttributeError(f"the tensor lies in the memory of '{self.device}'")
        told = {"shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "strides": None}
        return {**told, "version": 3}


def placed(name: str, tensor: Any, dtype: np.dtype[Any], stream: Stream | None = None) -> Placed:
    """Returns a caller's tensor where it lies; one on a GPU is computed before a stream goes on.

    It is a numpy array, or offers DLPack or `__cuda_array_interface__`. Only a numpy array whose elements don't lie one
    after the other is copied.

    Raises:
        SignatureError: when it is none of these, of another type than the input, on another GPU than the first, or
            isn't contiguous.
    """
    if isinstance(tensor, Placed):
        found = tensor  # what a session answered is done
    elif isinstance(tensor, np.ndarray):
        array = np.asarray(tensor, order="C")
        found = Placed(array.ctypes.data, array.shape, array.dtype, "cpu", array)
    elif hasattr(tensor, "__dlpack__"):
        found = _by_dlpack(name, tensor, stream)
    elif hasattr(tensor, "__cuda_array_interface__"):
        found = _by_interface(name, tensor, stream)
    else:
        raise SignatureError(
            f"input '{name}': expected an array, or a tensor with DLPack or __cuda_array_interface__, "
            f"got {type(tensor).__name__}. Make it one with `numpy.asarray`."
        )
    if found.dtype != dtype:
        where = " on the GPU" if found.device == "cuda" else ""
        raise SignatureError(f"input '{name}': expected {dtype}, got {found.dtype}{where}. Cast it there.")
    return found


def _by_dlpack(name: str, tensor: Any, stream: Stream | None) -> Placed:
    kind, number = tensor.__dlpack_device__()
    device = _DEVICES.get(int(kind))
    if device is None or (device == "cuda" and number):
        raise SignatureError(
            f"input '{name}': expected a tensor on the first GPU or in main memory, got one on device {number} of "
            f"DLPack's type {int(kind)}. Copy it there."
        )
    is_awaited = device == "cuda" and stream is not None
    try:
        capsule = tensor.__dlpack__(stream=stream.number) if is_awaited and stream else tensor.__dlpack__()
    except BufferError as refusal:
        raise SignatureError(f"input '{name}': its owner doesn't lend it: {refusal}.") from refusal
    told = dlpack.described(capsule)
    _check_contiguous(name, told.shape, told.strides, 1)
    return Placed(told.address, told.shape, to_numpy(told.dtype), device, capsule)


def _by_interface(name: str, tensor: Any, stream: Stream | None) -> Placed:
    told = tensor.__cuda_array_interface__
    dtype = np.dtype(told["typestr"])
    shape = tuple(int(size) for size in told["shape"])
    _check_contiguous(name, shape, told.get("strides"), dtype.itemsize)
    if stream is not None:
        _await(told, stream.driver)
    return Placed(int(told["data"][0]), shape, dtype, "cuda", tensor)


def _await(told: Mapping[str, Any], driver: Driver) -> None:
    """Waits for what computes a tensor: the stream that it names, or all, where its version names none."""
    if told["version"] < _SINCE_STREAMS:
        driver.wait_for_all()
    elif told.get("stream") is not None:
        driver.wait(int(told["stream"]))


def _check_contiguous(name: str, shape: tuple[int, ...], strides: Any, size: int) -> None:
    if strides is None or 0 in shape:
        return
    expected = _packed(shape, size)
    if any(one != due for one, due, count in zip(strides, expected, shape, strict=True) if count > 1):
        raise SignatureError(
            f"input '{name}': expected elements that lie one after the other, got strides {tuple(strides)}. "
            "Make it contiguous first."
        )


def _packed(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    strides = [size]
    for one in shape[:0:-1]:
        strides.append(strides[-1] * one)
    return tuple(strides[: len(shape)][::-1])
