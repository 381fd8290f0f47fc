"""`cumsum` of bools as of whole numbers: the tracing exporter adds up bools as they are, which no engine takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _add_up(input: Tensor, dim: Any, **others: Any) -> Tensor:  # noqa: A002
    return input.to(torch.int64).cumsum(dim, **others)


def _is_bool(input: Tensor, dim: object, **others: object) -> bool:  # noqa: A002
    return input.dtype == torch.bool and others.keys() <= {"dtype"}


TWIN = Twin("cumsum", ("torch.cumsum", "torch.Tensor.cumsum"), _add_up, _is_bool)
