"""`pad_packed_sequence` up to the longest row: exporters pad up to the longest that there could be."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import rnn

from onnxwright.repairs.operators import Twin


def _pad(
    sequence: rnn.PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    # A given length is this operator's own; what is computed of the sizes that are packed is more than exporters pair.
    rows, lengths = rnn.pad_packed_sequence(sequence, batch_first, padding_value, sequence.batch_sizes.shape[0])
    axis = 1 if batch_first else 0
    places = torch.arange(rows.shape[axis], device=rows.device)
    return rows.index_select(axis, places[places < lengths.max().to(rows.device)]), lengths


def _is_to_the_longest(
    sequence: rnn.PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> bool:
    return total_length is None


TWIN = Twin("pad_packed", ("torch.nn.utils.rnn.pad_packed_sequence",), _pad, _is_to_the_longest)
