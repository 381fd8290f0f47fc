"""`fftn` of real numbers as products with cosines and sines: models mix tokens so in place of attention."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from onnxwright.repairs.operators import Twin, axes_of
from onnxwright.repairs.operators.fft import is_pair_of_floats, transformed
from onnxwright.repairs.operators.pairs import Pair, as_pair


def _fftn(input: Any, *, dim: Sequence[int] | None = None) -> Pair:  # noqa: A002
    return functools.reduce(transformed, axes_of(input, dim), as_pair(input))


TWIN = Twin("fftn", ("torch.fft.fftn",), _fftn, is_pair_of_floats)
