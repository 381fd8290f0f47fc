"""`tolist` of a row of counts, as a list of tensors: what is split by them then follows the counts of each input."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _tolist(counts: Tensor) -> list[Tensor]:
    return list(counts.unbind(0))


def _is_row(counts: Tensor) -> bool:
    return counts.dim() == 1 and not counts.is_floating_point() and not counts.is_complex()


TWIN = Twin("tolist", ("torch.Tensor.tolist",), _tolist, _is_row, is_unread=True)
