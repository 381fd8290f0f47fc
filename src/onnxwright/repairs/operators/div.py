"""Division of two sizes with rounding by `torch.div`, which gives a tensor: `//`, which exporters follow."""

from __future__ import annotations

from typing import Any

import torch

from onnxwright.repairs.operators import Twin

_SIZES = (int, torch.SymInt)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:  # noqa: A002 - torch's signature
    """Returns the whole part of one size by another; both have one sign, so that all ways of rounding agree."""
    return input // other


def _is_of_sizes(input: Any, other: Any, *, rounding_mode: str | None = None) -> bool:  # noqa: A002 - torch's signature
    is_size = isinstance(input, _SIZES) and isinstance(other, int)
    return is_size and rounding_mode in {"trunc", "floor"} and other > 0


TWIN = Twin("div", ("torch.div",), div, applies=_is_of_sizes)
