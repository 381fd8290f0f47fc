"""Memory on the GPU that is kept from call to call, and what empty answers look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

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
