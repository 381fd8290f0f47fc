"""`nn.RNNCell` by its formula, as its documentation gives it: compiled, as within a loop, it has no ONNX form."""

# ruff: noqa: A002, ANN001, RUF005, UP045 - TorchScript reads this source

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin


def _forward(self, input: Tensor, hx: Optional[Tensor] = None) -> Tensor:
    if hx is None:
        hx = torch.zeros(input.shape[:-1] + (self.hidden_size,), dtype=input.dtype, device=input.device)
    given = torch.nn.functional.linear(input, self.weight_ih, self.bias_ih)
    both = given + torch.nn.functional.linear(hx, self.weight_hh, self.bias_hh)
    if self.nonlinearity == "relu":
        return torch.relu(both)
    return torch.tanh(both)


TWIN = Twin("rnn_cell", ("torch.nn.RNNCell.forward",), _forward, is_compiled=True)
