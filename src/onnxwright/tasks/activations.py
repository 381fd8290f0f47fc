"""Turns logits into scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from onnxwright.backends import Array


def identity(logits: Array) -> Array:
    """Returns the logits as they are."""
    return logits


def sigmoid(logits: Array) -> Array:
    """Returns `1 / (1 + exp(-x))`, without overflow at either end."""
    decay = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, decay) / (1.0 + decay)


def softmax(logits: Array) -> Array:
    """Returns the share of each entry along the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


ACTIVATIONS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "identity": identity,
    "sigmoid": sigmoid,
    "softmax": softmax,
}
