"""Weights with the same numbers, held once: tied embeddings that an exporter wrote twice, biases of zeros."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir

_SAMPLED: Final = 64
"""So many elements, spread over a weight, say of most that it has no twin; only the others are read."""


def share_weights(model: ir.Model) -> int:
    """Keeps one of the initializers of each graph that are equal in type, shape and numbers; returns how many went."""
    return sum(_share(graph) for graph in model.graphs())


def digest(tensor: ir.TensorProtocol) -> str:
    """Returns a digest of a tensor's type, shape and numbers."""
    found = hashlib.sha256(f"{tensor.dtype.name} {tuple(tensor.shape.numpy())}".encode())
    if tensor.dtype == ir.DataType.STRING:
        found.update(repr(tensor.numpy().tolist()).encode())
    else:
        found.update(np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _share(graph: ir.Graph) -> int:
    count = 0
    for alike in _groups(list(_sharable(graph)), _sample):
        for same in _groups(alike, digest):
            for value in same[1:]:
                value.replace_all_uses_with(same[0])
                del graph.initializers[str(value.name)]
                count += 1
    return count


def _sharable(graph: ir.Graph) -> Iterator[ir.Value]:
    """Initializers that callers neither give nor get, and whose numbers are at hand."""
    for value in graph.initializers.values():
        tensor = value.const_value
        is_open = value.is_graph_input() or value.is_graph_output()
        if tensor is not None and not is_open and not isinstance(tensor, ir.LazyTensor):
            yield value


def _groups(values: Iterable[ir.Value], key: Any) -> list[Sequence[ir.Value]]:
    """Values of the same key, where there are several."""
    found: dict[object, list[ir.Value]] = {}
    for value in values:
        found.setdefault(key(value.const_value), []).append(value)
    return [group for group in found.values() if len(group) > 1]


def _sample(tensor: ir.TensorProtocol) -> tuple[object, ...]:
    flat = tensor.numpy().reshape(-1)
    chosen = flat[:: max(1, flat.size // _SAMPLED)][: _SAMPLED + 1]
    told = repr(chosen.tolist()) if tensor.dtype == ir.DataType.STRING else chosen.tobytes()
    return tensor.dtype, tuple(tensor.shape.numpy()), told
