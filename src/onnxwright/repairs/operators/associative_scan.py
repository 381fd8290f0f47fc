"""`associative_scan` as a scan, one element after the other: its own halves a tensor as often as the length allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from onnxwright.repairs.operators import Twin


def _scanned(
    combine_fn: Callable[[Any, Any], Any], xs: Any, dim: int, reverse: bool = False, combine_mode: str = "pointwise"
) -> Any:
    from torch._higher_order_ops.scan import scan

    elements, kind = tree_flatten(xs)

    def combined(before: list[Any], element: list[Any]) -> tuple[list[Any], list[Any]]:
        is_first, *so_far = before
        both = tree_leaves(combine_fn(tree_unflatten(so_far, kind), tree_unflatten(element, kind)))
        after = [torch.where(is_first, one, other) for one, other in zip(element, both, strict=True)]
        return [torch.zeros_like(is_first), *after], [one.clone() for one in after]

    start = [one.select(dim, -1 if reverse else 0).clone(memory_format=torch.contiguous_format) for one in elements]
    before = [elements[0].new_ones((), dtype=torch.bool), *start]
    _, done = scan(combined, before, elements, dim=dim, reverse=reverse)
    return tree_unflatten(done, kind)


TWIN = Twin("associative_scan", ("torch._higher_order_ops.associative_scan.associative_scan",), _scanned)
