"""A block mask of FlexAttention as the rule that it was made of: exporters lack the sort that looks for its blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from onnxwright.repairs.operators import Twin


@dataclass(frozen=True)
class Mask:
    """What the twin of `flex_attention` asks of a mask."""

    mask_mod: Callable[..., Tensor]
    """Whether a query sees a key, by the places of both, of the batch and of the head."""


def _mask(mask_mod: Callable[..., Tensor], *_: Any, **__: Any) -> Mask:
    return Mask(mask_mod)


TWIN = Twin("block_mask", ("torch.nn.attention.flex_attention.create_block_mask",), _mask)
