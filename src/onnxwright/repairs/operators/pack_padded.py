"""`pack_padded_sequence` of rows that come sorted, as of others: they bring an order along then, which tells how many.

Without it, a recurrent layer reads from Python how many rows there are.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.utils import rnn

from onnxwright.repairs.operators import Twin


def _pack(
    input: Tensor,  # noqa: A002 - torch's name
    lengths: Tensor,
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> rnn.PackedSequence:
    return rnn.pack_padded_sequence(input, lengths, batch_first, enforce_sorted=False)


def _is_sorted(
    input: Tensor,  # noqa: A002 - torch's name
    lengths: Tensor,
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> bool:
    return enforce_sorted and isinstance(lengths, Tensor)


TWIN = Twin("pack_padded", ("torch.nn.utils.rnn.pack_padded_sequence",), _pack, _is_sorted)
