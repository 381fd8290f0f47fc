"""`nn.LSTMCell` by its gates, as its documentation gives it: compiled, as within a loop, it has no ONNX form."""

# ruff: noqa: A002, ANN001, RUF005, UP045 - TorchScript reads this source

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _forward(self, input: Tensor, hx: Optional[tuple[Tensor, Tensor]] = None) -> tuple[Tensor, Tensor]:
    if hx is None:
        none = torch.zeros(input.shape[:-1] + (self.hidden_size,), dtype=input.dtype, device=input.device)
        hx = (none, none)
    given = torch.nn.functional.linear(input, self.weight_ih, self.bias_ih)
    gates = (given + torch.nn.functional.linear(hx[0], self.weight_hh, self.bias_hh)).chunk(4, -1)
    cell = torch.sigmoid(gates[1]) * hx[1] + torch.sigmoid(gates[0]) * torch.tanh(gates[2])
    return torch.sigmoid(gates[3]) * torch.tanh(cell), cell


TWIN = Twin("lstm_cell", ("torch.nn.LSTMCell.forward",), _forward, is_compiled=True)
