"""`matrix_exp` by scaling, a Taylor series and squaring: exporters have none.

Each matrix is halved until its norm is at most a half, and its exponential squared as often (Higham, Functions of
Matrices, 10.3).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin

_TERMS: Final = 12
_MOST_HALVINGS: Final = 16


def _exponential(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    norm = input.abs().sum(-2, keepdim=True).amax(-1, keepdim=True)
    halvings, halved = torch.zeros_like(norm), input
    for _ in range(_MOST_HALVINGS):
        is_large = norm > 0.5
        norm = torch.where(is_large, norm / 2, norm)
        halved = torch.where(is_large, halved / 2, halved)
        halvings = halvings + is_large.to(norm.dtype)
    term = torch.eye(input.shape[-1], dtype=input.dtype, device=input.device) + torch.zeros_like(input)
    answer = term
    for number in range(1, _TERMS + 1):
        term = term @ halved / number
        answer = answer + term
    for number in range(_MOST_HALVINGS):
        answer = torch.where(halvings > number, answer @ answer, answer)
    return answer


def _is_float(input: Tensor) -> bool:  # noqa: A002 - torch's name
    return input.dtype in (torch.float32, torch.float64) and input.dim() >= 2


_PLACES = ("torch.matrix_exp", "torch.linalg.matrix_exp", "torch.Tensor.matrix_exp")

TWIN = Twin("matrix_exp", _PLACES, _exponential, _is_float)
