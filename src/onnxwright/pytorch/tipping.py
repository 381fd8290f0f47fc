"""A module that pretends to quantize, rounded the other way where rounding is a toss-up.

Numbers are put on a grid step by step, and one that lies halfway between two steps, but for the last digits of the sums
that it comes from, becomes either. Which it becomes differs between two right computations of one module, and moves the
answer by far more than these digits do. How far, the module itself shows when each such number becomes the other step;
and where such numbers become what they became in the other computation, it answers the same, if both are right.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from onnxwright.pytorch.dispatching import OperatorMode

_CLOSE: Final = 1e-6
"""How near to the middle of two steps a number has to be, relative to the greatest of its tensor."""
_ALIKE: Final = 0.9
"""Such a share of the numbers of a call is on the same step in another computation of it, or on the next."""
_MOST_STEPS: Final = 256.0
"""Numbers farther off are the last step however they are rounded."""

_aten = torch.ops.aten
_CHANNELS: Final = _aten.fake_quantize_per_channel_affine_cachemask.default
_FUSED: Final = _aten._fused_moving_avg_obs_fq_helper.default
STEPPING: Final = {
    _CHANNELS: (1, 2, (4, 5)),
    _aten.fake_quantize_per_tensor_affine_cachemask.default: (1, 2, (3, 4)),
    _aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default: (1, 2, (4, 5)),
    _FUSED: (5, 6, (8, 9)),
}
"""The operators that put numbers on a grid: where their arguments have scale, zero, and the least and the most step."""


class Tipping(OperatorMode):
    """Has numbers that are toss-ups become the other step while entered; `is_stepping` where any is put on a grid.

    All of them do, or with `put` those that another computation of the module has put there: that is where it has put
    all numbers, call by call; calls that it lacks or has besides don't matter.
    What depends on weights alone is no toss-up: it is what it is, for the module and for a graph of it.
    """

    def __init__(self, module: nn.Module, put: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.is_stepping = False
        self._put = None if put is None else deque(put)
        self._fixed = {id(one): one for one in (*module.parameters(), *module.buffers())}

    def _operator(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        answer = func(*args, **kwargs)
        if self._is_fixed(args, kwargs):
            self._fixed.update({id(one): one for one in tree_leaves(answer) if isinstance(one, Tensor)})
            return answer
        if func not in STEPPING:
            return answer
        self.is_stepping = True
        scale, zero, ends = STEPPING[func]
        axis = _axis(func, args)
        size, offset = (_along(args[place], args[0].dim(), axis) for place in (scale, zero))
        on_grid, *others = answer
        steps, put = args[0] / size, (on_grid / size).round()
        least, most = (args[end] - offset for end in ends)
        other = (steps.floor() + steps.ceil() - put).clamp(least, most)
        greatest = steps.abs().max().clamp(1.0, _MOST_STEPS)
        is_turned = (steps - steps.floor() - 0.5).abs() <= _CLOSE * greatest
        if self._put is not None:
            is_turned &= other == self._put_elsewhere(put, size)
        return on_grid.where(~is_turned, other * size), *others

    def _put_elsewhere(self, put: Tensor, size: Any) -> Tensor:
        """Where the other computation has put the same numbers, in steps: the next call that is alike."""
        assert self._put is not None, "there is another computation"
        for _ in range(len(self._put)):
            given = self._put[0].to(put)
            self._put.rotate(-1)
            if given.shape == put.shape:
                steps: Tensor = (given / size).round()
                if ((steps - put).abs() <= 1).float().mean() >= _ALIKE:
                    return steps
        return put

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
