"""A module that pretends to quantize, rounded the other way wherever rounding is a toss-up.

Numbers are put on a grid step by step, and one that lies halfway between two steps, but for the last digits of the sums
that it comes from, becomes either. Which it becomes differs between two right computations of one module, and moves the
answer by far more than these digits do. How far, the module itself shows when each such number becomes the other step.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_CLOSE: Final = 1e-6
"""How near to the middle of two steps a number has to be, relative to the greatest of its tensor."""
_MOST_STEPS: Final = 256.0
"""Numbers farther off are the last step however they are rounded."""

_aten = torch.ops.aten
_CHANNELS: Final = _aten.fake_quantize_per_channel_affine_cachemask.default
_FUSED: Final = _aten._fused_moving_avg_obs_fq_helper.default
_STEPPING: Final = {
    _CHANNELS: (1, 2, (4, 5)),
    _aten.fake_quantize_per_tensor_affine_cachemask.default: (1, 2, (3, 4)),
    _aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default: (1, 2, (4, 5)),
    _FUSED: (5, 6, (8, 9)),
}
"""The operators that put numbers on a grid: where their arguments have scale, zero, and the least and the most step."""


class Tipping(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    """Has each number that is a toss-up become the other step while entered; `is_stepping` where any is put on a grid.

    What depends on weights alone is no toss-up: it is what it is, for the module and for a graph of it.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.is_stepping = False
        self._fixed = {id(one): one for one in (*module.parameters(), *module.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        if self._is_fixed(args, kwargs):
            self._fixed.update({id(one): one for one in tree_leaves(answer) if isinstance(one, Tensor)})
            return answer
        if func not in _STEPPING:
            return answer
        self.is_stepping = True
        scale, zero, ends = _STEPPING[func]
        axis = _axis(func, args)
        size, offset = (_along(args[place], args[0].dim(), axis) for place in (scale, zero))
        on_grid, *others = answer
        return _tipped(args[0], on_grid, size, offset, [args[end] for end in ends]), *others

    def _is_fixed(self, args: Any, kwargs: Any) -> bool:
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        return bool(given) and all(id(one) in self._fixed for one in given)


def _axis(func: Any, args: Any) -> int | None:
    if func is _FUSED:
        return args[10] if len(args) > 11 and args[11] else None
    return args[3] if func is _CHANNELS else None


def _along(number: Any, rank: int, axis: int | None) -> Any:
    """A number of each channel, so that it meets them."""
    if axis is None:
        return number.reshape(()) if isinstance(number, Tensor) else number
    return number.reshape([-1 if place == axis else 1 for place in range(rank)])


def _tipped(given: Tensor, on_grid: Tensor, size: Any, offset: Any, ends: list[int]) -> Tensor:
    steps = given / size
    greatest = steps.abs().max().clamp(1.0, _MOST_STEPS)
    is_toss_up = (steps - steps.floor() - 0.5).abs() <= _CLOSE * greatest
    other = (steps.floor() + steps.ceil() - steps.round() + offset).clamp(*ends)
    return on_grid.where(~is_toss_up, (other - offset) * size)
