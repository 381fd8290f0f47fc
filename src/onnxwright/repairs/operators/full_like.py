"""`full_like` of True or False as of 1 or 0: the tracing exporter knows none of a bool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _fill(input: Tensor, fill_value: bool, **others: Any) -> Tensor:  # noqa: A002
    return torch.full_like(input, int(fill_value), **others)


def _is_bool(input: Tensor, fill_value: object, **others: Any) -> bool:  # noqa: A002
    return isinstance(fill_value, bool)


TWIN = Twin("full_like", ("torch.full_like",), _fill, _is_bool)
