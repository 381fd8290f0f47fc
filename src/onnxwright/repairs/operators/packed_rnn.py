"""`LSTM`, `GRU` and `RNN` on packed sequences, without the check of how many there are, which Python reads.

Sequences that are packed with `enforce_sorted=False` bring their order along, and its length is their number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import _VF, Tensor
from torch.nn.utils.rnn import PackedSequence

from onnxwright.repairs.operators import Twin


def _run(self: Any, input: PackedSequence, hx: Any = None) -> tuple[PackedSequence, Any]:  # noqa: A002 - torch's name
    data, batch_sizes, order, back = input
    assert order is not None, "taken only with an order"
    is_lstm = self.mode == "LSTM"
    if hx is None:
        sizes = self.hidden_size, self.proj_size or self.hidden_size
        rows = self.num_layers * (2 if self.bidirectional else 1)
        cell, hidden = (torch.zeros(rows, order.shape[0], size, dtype=data.dtype) for size in sizes)
        first: Any = (hidden, cell) if is_lstm else hidden
    else:
        first = tuple(one.index_select(1, order) for one in hx) if is_lstm else hx.index_select(1, order)
    compute = getattr(_VF, self.mode.lower())
    shape = self._flat_weights, self.bias, self.num_layers, 0.0, False, self.bidirectional
    output, *last = compute(data, batch_sizes, first, *shape)
    states: list[Tensor] = [one.index_select(1, back) for one in last]
    return PackedSequence(output, batch_sizes, order, back), tuple(states) if is_lstm else states[0]


def _is_packed(self: Any, input: Any, hx: Any = None) -> bool:  # noqa: A002 - torch's name
    return isinstance(input, PackedSequence) and not self.training


def _is_ordered(self: Any, input: Any, hx: Any = None) -> bool:  # noqa: A002 - torch's name
    return _is_packed(self, input) and input.sorted_indices is not None


_PLACES = tuple(f"torch.nn.{kind}.forward" for kind in ("LSTM", "GRU", "RNN"))

TWIN = Twin("packed_rnn", _PLACES, _run, _is_ordered, _is_packed)
