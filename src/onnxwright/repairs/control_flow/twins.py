"""Functions of Python that would make numbers of what may vary, or loops of fixed length, by others that don't."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import SymBool, SymFloat, SymInt, Tensor

from onnxwright.repairs.control_flow.handed import ControlFlowError, Several, Stacked, Values, counting, several_of


def _range(*ends: Any) -> Any:
    if not any(isinstance(end, (SymInt, Tensor)) for end in ends):
        return range(*ends)
    start, stop, step = {1: (0, *ends, 1), 2: (*ends, 1), 3: ends}[len(ends)]
    stop = stop.item() if isinstance(stop, Tensor) else stop
    return counting(start, stop, step)


def _enumerate(items: Any, start: int = 0) -> Any:
    several = several_of(items)
    if several is None:
        return enumerate(items, start)
    count = torch.arange(several.tensors[0].shape[0]) + start
    return Several((count, *several.tensors), lambda index, *parts: (index, several.item(*parts)))


def _zip(*many: Any, strict: bool = False) -> Any:
    severals = [several_of(items) for items in many]
    if not any(severals):
        return zip(*many, strict=strict)
    if not all(severals):
        raise ControlFlowError("a loop goes through what varies in length beside what doesn't")
    counts = [len(one.tensors) for one in severals if one is not None]
    starts = [sum(counts[:place]) for place in range(len(counts))]

    def item(*parts: Tensor) -> Any:
        return tuple(
            one.item(*parts[start : start + count])
            for one, start, count in zip(severals, starts, counts, strict=True)
            if one is not None
        )

    return Several(tuple(tensor for one in severals if one is not None for tensor in one.tensors), item)


def _reversed(items: Any) -> Any:
    several = several_of(items)
    if several is None:
        return reversed(items)
    return Several(tuple(one.flip(0) for one in several.tensors), several.item)


def _int(value: Any = 0, *more: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.item()
    if isinstance(value, (SymInt, SymFloat)):
        return torch.sym_int(value)
    return int(value, *more)


def _float(value: Any = 0.0) -> Any:
    if isinstance(value, Tensor):
        return value.reshape(()).to(torch.float64)
    return torch.sym_float(value) if isinstance(value, (SymInt, SymFloat)) else float(value)


def _bool(value: Any = False) -> Any:
    return value if isinstance(value, (Tensor, SymBool)) else bool(value)


def _len(value: Any) -> Any:
    if isinstance(value, Stacked):
        value = value.whole
    return value.shape[0] if isinstance(value, Tensor) else len(value)


def _min(*args: Any, **kwargs: Any) -> Any:
    row = _row(*args, **kwargs)
    if row is not None:
        return row.item(row.tensors[0].amin(0))
    if kwargs or len(args) != 2:
        return min(*args, **kwargs)
    if any(isinstance(one, Tensor) for one in args):
        return torch.minimum(*map(_tensor_of, args))
    return torch.sym_min(*args) if _are_followed(args) else min(*args)


def _max(*args: Any, **kwargs: Any) -> Any:
    row = _row(*args, **kwargs)
    if row is not None:
        return row.item(row.tensors[0].amax(0))
    if kwargs or len(args) != 2:
        return max(*args, **kwargs)
    if any(isinstance(one, Tensor) for one in args):
        return torch.maximum(*map(_tensor_of, args))
    return torch.sym_max(*args) if _are_followed(args) else max(*args)


def _row(*args: Any, **kwargs: Any) -> Several | None:
    """What `min` and `max` go through, where they are given a row of numbers whose length varies."""
    several = several_of(args[0]) if len(args) == 1 and not kwargs else None
    is_row = several is not None and len(several.tensors) == 1 and several.tensors[0].dim() == 1
    return several if is_row else None


def _tensor_of(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full((), value)


def _are_followed(sizes: Values) -> bool:
    """Whether sizes may vary: dynamo shows them as plain numbers, and takes `max` for `min` during an export."""
    return torch.compiler.is_dynamo_compiling() or any(isinstance(one, (SymInt, SymFloat)) for one in sizes)


def _sum(items: Any, start: Any = 0) -> Any:
    several = several_of(items)
    return sum(items, start) if several is None or len(several.tensors) != 1 else several.tensors[0].sum(0) + start


def _list(items: Any = ()) -> Any:
    return items if isinstance(items, (Stacked, Several)) or several_of(items) else list(items)


def _tuple(items: Any = ()) -> Any:
    return items if isinstance(items, (Stacked, Several)) or several_of(items) else tuple(items)


def _stack(tensors: Any, dim: int = 0) -> Any:
    return tensors.whole.movedim(0, dim) if isinstance(tensors, Stacked) else torch.stack(tensors, dim)


def _cat(tensors: Any, dim: int = 0) -> Any:
    if not isinstance(tensors, Stacked):
        return torch.cat(tensors, dim)
    whole = tensors.whole
    dim = dim if dim >= 0 else dim + whole.dim() - 1
    return whole.movedim(0, dim).flatten(dim, dim + 1)


def _tensor(values: Any, **named: Any) -> Any:
    several = several_of(values)
    if several is None or len(several.tensors) != 1:
        return torch.tensor(values, **named)
    return torch.as_tensor(several.tensors[0], **named)


def tolist(owner: Any) -> Any:
    """Returns what `tolist` makes of a tensor: whole numbers as Python has them, others as tensors of no axes."""
    if not isinstance(owner, Tensor):
        return owner.tolist()
    if owner.dim() == 0:
        return owner if owner.is_floating_point() or owner.dtype == torch.bool else owner.item()
    if several_of(owner) is not None:
        return Several((owner,), tolist)
    return [tolist(one) for one in owner.unbind(0)]


def _divmod(value: Any, other: Any) -> Any:
    return value // other, value % other


def _sqrt(value: Any) -> Any:
    return value**0.5


def _ceil(value: Any) -> Any:
    return torch.sym_int(math.ceil(value)) if isinstance(value, SymFloat) else math.ceil(value)


def _round(value: Any, digits: int | None = None) -> Any:
    """Rounds half to even, as Python does, a number that comes from sizes."""
    if digits is not None or not isinstance(value, SymFloat):
        return round(value, digits) if digits is not None else round(value)
    return torch.sym_int(math.floor(value / 2 + 0.25)) + torch.sym_int(math.ceil(value / 2 - 0.25))


def _floor(value: Any) -> Any:
    return torch.sym_int(math.floor(value)) if isinstance(value, SymFloat) else math.floor(value)


TWINS: Final[dict[str, tuple[Any, Callable[..., Any]]]] = {
    "int": (int, _int),
    "float": (float, _float),
    "bool": (bool, _bool),
    "len": (len, _len),
    "range": (range, _range),
    "sum": (sum, _sum),
    "list": (list, _list),
    "tuple": (tuple, _tuple),
    "enumerate": (enumerate, _enumerate),
    "zip": (zip, _zip),
    "reversed": (reversed, _reversed),
    "min": (min, _min),
    "max": (max, _max),
    "ceil": (math.ceil, _ceil),
    "floor": (math.floor, _floor),
    "round": (round, _round),
    "divmod": (divmod, _divmod),
    "sqrt": (math.sqrt, _sqrt),
    "stack": (torch.stack, _stack),
    "tensor": (torch.tensor, _tensor),
    "cat": (torch.cat, _cat),
    "concat": (torch.concat, _cat),
}
"""What stands in for a function that would make a Python number of what may vary, by the name it is called by."""
