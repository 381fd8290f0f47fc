"""Scaled dot-product attention written out, for opsets below 14, where the exporter has no symbol for it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Replaces `torch.nn.functional.scaled_dot_product_attention` by its definition while entered."""
    fused = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = fused


def attend(  # noqa: PLR0913, PLR0917 - torch's signature
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 - torch's signature; evaluation mode never drops
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attends as the documentation of `torch.nn.functional.scaled_dot_product_attention` defines it.

    `query` is `[..., heads, length, width]`, `key` and `value` `[..., heads, source, width]`.
    """
    if enable_gqa:
        repeats = query.size(-3) // key.size(-3)
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    weights = query @ key.transpose(-2, -1) * (scale if scale is not None else 1.0 / math.sqrt(query.size(-1)))
    if is_causal:
        rows = torch.arange(query.size(-2), device=query.device).unsqueeze(-1)
        later = torch.arange(key.size(-2), device=query.device).unsqueeze(0) > rows
        weights = weights.masked_fill(later, float("-inf"))
    if attn_mask is not None:
        weights = (
            weights.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype == torch.bool else weights + attn_mask
        )
    return safe_softmax(weights) @ value


def safe_softmax(weights: Tensor) -> Tensor:
    """Softmax over the last axis that is zero, not NaN, where everything is masked, as torch's own attention has it."""
    is_masked = weights.amax(-1, keepdim=True) == float("-inf")
    return torch.softmax(weights.masked_fill(is_masked, 0.0), dim=-1).masked_fill(is_masked, 0.0)
