"""FlexAttention as products and a softmax, with its rules mapped over all positions: exporters compile it, and fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.repeat_interleave import repeated
from onnxwright.routes.plain_attention import safe_softmax


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Tensor] | None = None,
    block_mask: Any = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: object = None,
) -> Tensor | tuple[Tensor, Tensor]:
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    if enable_gqa:
        key, value = (repeated(one, query.shape[1] // key.shape[1], 1) for one in (key, value))
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    places = [torch.arange(size, device=scores.device) for size in scores.shape]
    with TransformGetItemToIndex():
        if score_mod is not None:
            scores = _over_places(score_mod, 0)(scores, *places)
        if block_mask is not None:
            scores = torch.where(_over_places(block_mask.mask_mod)(*places), scores, -torch.inf)
    answer = safe_softmax(scores).to(value.dtype) @ value
    if not return_lse:
        return answer
    is_seen = (scores > -torch.inf).any(-1, keepdim=True)
    return answer, torch.where(is_seen, scores, 0.0).logsumexp(-1).where(is_seen[..., 0], -torch.inf)


def _over_places(rule: Callable[..., Tensor], *scores: int) -> Callable[..., Tensor]:
    """Returns a rule for one batch, head, query and key, for all of them; with a score before, where it has one."""
    for axis in reversed(range(4)):
        rule = torch.vmap(rule, in_dims=(*scores, *(0 if one == axis else None for one in range(4))))
    return rule


TWIN = Twin("flex_attention", ("torch.nn.attention.flex_attention.flex_attention",), _attend)
