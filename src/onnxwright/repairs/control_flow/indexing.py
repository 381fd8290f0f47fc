"""Elements of tensors at places that vary, and changes in place that leave the tensor as it was."""

from __future__ import annotations

from typing import Any

import torch
from torch import SymInt, Tensor

from onnxwright.repairs.control_flow.handed import ControlFlowError, Prepended, Several, Stacked, Values
from onnxwright.repairs.control_flow.tables import is_table, looked_up


def taken(argument: Any) -> Any:
    """An argument as a value of its own: of inputs themselves, dynamo wants each size to be dynamic for itself."""
    return argument.view_as(argument) if isinstance(argument, Tensor) else argument


def changed(owner: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """What a method makes of its owner in place, as a new one."""
    if isinstance(owner, list) and method == "insert" and args[0] == 0:
        return Prepended([args[1], *owner])
    copied = owner.clone() if isinstance(owner, Tensor) else owner
    copied = owner.copy() if isinstance(owner, (list, Stacked)) else copied
    getattr(copied, method)(*args, **kwargs)
    return copied


def stored(owner: Any, index: Any, value: Any) -> Any:
    """What it makes of an owner to store something in it, as a new one."""
    parts = index if isinstance(index, tuple) else (index,)
    if isinstance(owner, Tensor) and any(_varies(part) for part in parts):
        return _placed(owner, _spelled_out(parts, owner.dim()), value)
    copied = owner.clone() if isinstance(owner, Tensor) else type(owner)(owner)
    copied[index] = value
    return copied


def _placed(owner: Tensor, parts: Values, value: Any) -> Tensor:
    """A tensor with a value in one place of some axes, and all of the others."""
    mask = torch.ones((), dtype=torch.bool)
    rest, axes = list(owner.shape), []
    for axis, part in enumerate(parts):
        if isinstance(part, slice) and part == slice(None):
            continue
        if isinstance(part, slice) or part is None or isinstance(part, list):
            raise ControlFlowError("something is stored at a slice that varies")
        place = torch.where(part < 0, part + owner.shape[axis], part) if isinstance(part, Tensor) else part
        shape = [1] * owner.dim()
        shape[axis] = -1
        mask = torch.logical_and(mask, (torch.arange(owner.shape[axis]) == place).reshape(shape))
        axes.append(axis)
    for axis in reversed(axes):
        del rest[axis]
    given = value if isinstance(value, Tensor) else torch.full((), value, dtype=owner.dtype)
    given = given.to(owner.dtype).broadcast_to(rest)
    for axis in axes:
        given = given.unsqueeze(axis)
    return torch.where(mask, given, owner)


def picked(owner: Any, index: Any) -> Any:
    """What stands at an index, which may be a tensor where Python would have a number."""
    parts = index if isinstance(index, tuple) else (index,)
    if isinstance(owner, Several):
        return owner[index] if isinstance(index, slice) else owner.item(*(picked(one, index) for one in owner.tensors))
    if not isinstance(index, slice) and _varies(index) and is_table(owner):
        return looked_up(owner, index)
    owner = owner.whole if isinstance(owner, Stacked) and _varies(index) else owner
    if not isinstance(owner, Tensor) or not any(_varies(part) for part in parts):
        return owner[index]
    if any(isinstance(part, (list, Tensor)) and not _is_scalar(part) for part in parts):
        return owner[index]
    parts = _spelled_out(parts, owner.dim())
    axis = 0
    for part in parts:
        if isinstance(part, slice):
            ends = [_number(end) for end in (part.start, part.stop, part.step)]
            owner, axis = owner[(slice(None),) * axis + (slice(*ends),)], axis + 1
        elif not isinstance(part, (Tensor, int, SymInt)):
            owner, axis = owner.unsqueeze(axis), axis + 1
        else:
            one = part if isinstance(part, Tensor) else _scalar(part)
            one = torch.where(one < 0, one + owner.shape[axis], one)
            owner = owner.index_select(axis, one.reshape(1)).squeeze(axis)
    return owner


def _spelled_out(parts: Values, rank: int) -> Values:
    """An index with a slice for each axis that `...` stands for."""
    places = [place for place, part in enumerate(parts) if isinstance(part, type(Ellipsis))]
    if not places:
        return parts
    taken = sum(part is not None for part in parts) - 1
    return (*parts[: places[0]], *[slice(None)] * (rank - taken), *parts[places[0] + 1 :])


def _varies(part: Any) -> bool:
    if isinstance(part, slice):
        return any(isinstance(end, (Tensor, SymInt)) for end in (part.start, part.stop, part.step))
    return isinstance(part, SymInt) or _is_scalar(part)


def _is_scalar(part: Any) -> bool:
    return (
        isinstance(part, Tensor) and part.dim() == 0 and not part.dtype.is_floating_point and part.dtype != torch.bool
    )


def _scalar(index: Any) -> Tensor:
    return torch.full((), index, dtype=torch.int64)


def _number(end: Any) -> Any:
    return end.item() if isinstance(end, Tensor) else end
