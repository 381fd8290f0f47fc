"""`nn.GRUCell` by its gates, as its documentation gives it: compiled, as within a loop, it has no ONNX form."""

# ruff: noqa: A002, ANN001, RUF005, UP045 - TorchScript reads this source

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _forward(self, input: Tensor, hx: Optional[Tensor] = None) -> Tensor:
    if hx is None:
        hx = torch.zeros(input.shape[:-1] + (self.hidden_size,), dtype=input.dtype, device=input.device)
    given = torch.nn.functional.linear(input, self.weight_ih, self.bias_ih).chunk(3, -1)
    kept = torch.nn.functional.linear(hx, self.weight_hh, self.bias_hh).chunk(3, -1)
    reset, update = torch.sigmoid(given[0] + kept[0]), torch.sigmoid(given[1] + kept[1])
    fresh = torch.tanh(given[2] + reset * kept[2])
    return fresh + update * (hx - fresh)


TWIN = Twin("gru_cell", ("torch.nn.GRUCell.forward",), _forward, is_compiled=True)
