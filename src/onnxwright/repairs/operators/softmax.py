"""`softmax` that is told a type: the tracing exporter computes it in the type of its input, and casts the answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def twin_of(name: str, own: Callable[[Tensor, int], Tensor]) -> Twin:
    """Returns the twin of a kind of softmax, which casts before."""

    def compute(input: Tensor, dim: int, *told: object, dtype: torch.dtype | None = None) -> Tensor:  # noqa: A002
        wanted = _told(told, dtype)
        assert wanted is not None, "it applies where a type is told"
        return own(input.to(wanted), dim)

    def applies(input: Tensor, dim: int, *told: object, dtype: torch.dtype | None = None) -> bool:  # noqa: A002
        return _told(told, dtype) not in {None, input.dtype}

    places = (f"torch.{name}", f"torch.Tensor.{name}", f"torch.nn.functional.{name}", f"torch.special.{name}")
    return Twin(name, places, compute, applies, is_taken=True)


def _told(others: tuple[object, ...], dtype: torch.dtype | None) -> torch.dtype | None:
    """The type that is told, by name or place."""
    return next((one for one in (*others, dtype) if isinstance(one, torch.dtype)), None)


TWIN = twin_of("softmax", torch.softmax)
