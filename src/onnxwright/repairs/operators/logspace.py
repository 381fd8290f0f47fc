"""`logspace` as powers of `linspace`: exporters lack it, or freeze how many there are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin, linspace


def _powers(start: Any, end: Any, steps: Any, base: float = 10.0, **options: Any) -> Tensor:
    return torch.pow(base, linspace.TWIN.compute(start, end, steps, **options))


def _is_of_floats(start: Any, end: Any, steps: Any, base: float = 10.0, **options: Any) -> bool:
    return linspace.TWIN.applies(start, end, steps, **options)


TWIN = Twin("logspace", ("torch.logspace",), _powers, _is_of_floats)
