"""What a function with a gradient of its own computes under `vmap`, by its operators: a trace can't hold it there.

Masks that `vmap` makes of a rule for one pair of positions, as those of FlexAttention, index tensors with one.
"""

from __future__ import annotations

from typing import Any

import torch

from onnxwright.repairs.operators import Twin


def _custom_function(function: type[torch.autograd.Function], *operands: Any) -> Any:
    return function.forward(*operands)


def _is_computed_alike(function: type[torch.autograd.Function], *_: Any) -> bool:
    """Whether `vmap` is told to go into the function, and nobody asks for a gradient."""
    return function.generate_vmap_rule and not torch.is_grad_enabled()


TWIN = Twin(
    "custom_function",
    ("torch._functorch.autograd_function.custom_function_call",),
    _custom_function,
    _is_computed_alike,
    counts=lambda function, *_: function.generate_vmap_rule,
)
