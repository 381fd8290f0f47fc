"""`fft2` as products with cosines and sines: models mix tokens so in place of attention."""

from __future__ import annotations

import functools
from typing import Any

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.fft import is_pair_of_floats, transformed
from onnxwright.repairs.operators.pairs import Pair, as_pair


def _fft2(input: Any, *, dim: tuple[int, int] = (-2, -1)) -> Pair:  # noqa: A002
    return functools.reduce(transformed, dim, as_pair(input))


TWIN = Twin("fft2", ("torch.fft.fft2",), _fft2, is_pair_of_floats)
