"""Numbers in the types that a graph declares, and in those that an engine takes and gives in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxwright.backends import Tensors
from onnxwright.dtypes import to_numpy
from onnxwright.errors import SignatureError
from onnxwright.nvidia.orders import Tensor

Types = Mapping[str, np.dtype[Any]]


def declared_types(*tensors: Tensor) -> Types:
    """Returns the types that a graph declares for what its engine has in others."""
    return {one.name: to_numpy(one.declared) for one in tensors if one.declared}


def as_taken(feeds: Mapping[str, Any], declared: Types, taken: Types) -> dict[str, Any]:
    """Casts arrays to the types that an engine takes; tensors on a device, and what it takes as it is, stay.

    Raises:
        SignatureError: when an array has another type than the graph declares.
    """
    return {
        name: _cast(name, feed, declared[name], taken[name])
        if name in declared and isinstance(feed, np.ndarray)
        else feed
        for name, feed in feeds.items()
    }


def as_declared(answers: Tensors, declared: Types) -> dict[str, Any]:
    """Casts what an engine answers to the types that its graph declares."""
    return {name: one.astype(declared.get(name, one.dtype), copy=False) for name, one in answers.items()}


def _cast(name: str, array: np.ndarray[Any, Any], declared: np.dtype[Any], taken: np.dtype[Any]) -> Any:
    if array.dtype != declared:
        raise SignatureError(f"input '{name}': expected {declared}, got {array.dtype}. Cast it.")
    with np.errstate(over="ignore"):  # what float32 doesn't hold becomes infinite, as in the graph
        return array.astype(taken)
