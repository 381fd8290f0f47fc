"""`einsum` over axes that an ellipsis stands for and the answer lacks, summed afterwards: engines refuse such a one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _summed(equation: str, *operands: Tensor) -> Tensor:
    given, _, answer = equation.replace(" ", "").partition("->")
    made = torch.einsum(f"{given}->...{answer}", *operands)
    return made.sum(tuple(range(made.dim() - len(answer))))


def _applies(equation: Any, *operands: Any) -> bool:
    if not isinstance(equation, str) or not all(isinstance(one, Tensor) for one in operands):
        return False
    given, arrow, answer = equation.partition("->")
    return bool(arrow) and "..." in given and "..." not in answer


TWIN = Twin("einsum", ("torch.einsum",), _summed, applies=_applies)
