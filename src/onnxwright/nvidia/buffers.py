"""Memory on the GPU: kept from call to call, or the caller's own, which is used where it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from onnxwright.errors import SignatureError

Array = np.ndarray[Any, np.dtype[Any]]


class Memory(Protocol):
    """What gives and takes memory on a device."""

    def reserve(self, size: int) -> int:
        """Returns the address of so many new bytes."""

    def give_back(self, address: int) -> None:
        """Frees what was reserved."""


class Buffers:
    """One piece of memory for each tensor, as large as it has ever needed to be."""

    def __init__(self, memory: Memory):
        self._memory = memory
        self._held: dict[str, tuple[int, int]] = {}

    def of(self, name: str, size: int) -> int:
        """Returns the address of at least so many bytes for a tensor; the same one as long as that is large enough."""
        address, held = self._held.get(name, (0, 0))
        if held < size or not held:
            if held:
                del self._held[name]
                self._memory.give_back(address)
            size = max(size, 1)  # an address is needed for a tensor without elements, too
            self._held[name] = self._memory.reserve(size), size
        return self._held[name][0]

    def clear(self) -> None:
        """Gives all of it back."""
        for address, _ in self._held.values():
            self._memory.give_back(address)
        self._held.clear()


class OnDevice(NamedTuple):
    """A tensor on the GPU that others can use where it lies, by `__cuda_array_interface__`.

    It is valid until the next call of the session that gave it.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> Mapping[str, Any]:
        """The tensor as numba, CuPy and PyTorch read it."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "version": 3,
        }


def is_on_device(tensor: Any) -> bool:
    """Whether a tensor says that it lies on a GPU."""
    return hasattr(tensor, "__cuda_array_interface__")


def on_device(name: str, tensor: Any, dtype: np.dtype[Any]) -> OnDevice:
    """Returns a caller's tensor where it lies.

    Raises:
        SignatureError: when it is of another type than the input, or its elements don't lie one after the other.
    """
    told = tensor.__cuda_array_interface__
    found = np.dtype(told["typestr"])
    if found != dtype:
        raise SignatureError(f"input '{name}': expected {dtype}, got {found} on the GPU. Cast it there.")
    shape = tuple(int(size) for size in told["shape"])
    strides = told.get("strides")
    if strides is not None and tuple(strides) != _packed(shape, dtype.itemsize):
        raise SignatureError(
            f"input '{name}': expected elements that lie one after the other, got strides {tuple(strides)}. "
            "Make it contiguous first."
        )
    return OnDevice(int(told["data"][0]), shape, dtype)


def _packed(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    strides = [size]
    for one in shape[:0:-1]:
        strides.append(strides[-1] * one)
    return tuple(strides[: len(shape)][::-1])


def blank(answers: Mapping[str, Array]) -> dict[str, str]:
    """Says which outputs hold nothing but zeros, or a NaN: what an engine that went wrong often answers."""
    reasons: tuple[tuple[str, Callable[[Array], bool]], ...] = (
        ("holds NaN", lambda array: bool(np.isnan(array.astype(np.float32)).any())),
        ("is all zero", lambda array: bool(array.size) and not array.any()),
    )
    return {
        name: next(told for told, holds in reasons if holds(array))
        for name, array in answers.items()
        if any(holds(array) for _, holds in reasons)
    }
