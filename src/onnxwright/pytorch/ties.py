"""Whether a module picks among equal elements, of which PyTorch does not define one, or among almost equal ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from onnxwright.pytorch.dispatching import OperatorMode

_SORTING = {torch.ops.aten.sort.default, torch.ops.aten.msort.default}
_PICKING = {
    torch.ops.aten.kthvalue.default: ("k", "dim"),
    torch.ops.aten.median.dim: ("dim",),
    torch.ops.aten.mode.default: ("dim",),
}


_CHOOSING = {torch.ops.aten.max.dim: True, torch.ops.aten.min.dim: False}
_CHOOSING |= {torch.ops.aten.argmax.default: True, torch.ops.aten.argmin.default: False}
"""What takes the first of equal elements: it matters only where rounding makes them differ."""
_CLOSE = 1e-5
"""Elements that differ by less, relative to the greatest of their row, may change places in another order of sums."""
_MASKING = 1e4
"""Larger numbers are there to mask others."""


class Ties(OperatorMode):
    """Looks at every operator that picks or orders elements while it is entered.

    `is_found` says whether two tied, `is_close` whether two differed by no more than rounding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_found = self.is_close = False

    def _operator(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if func is torch.ops.aten.topk.default:
            count, dim, is_largest = _given(args, kwargs, ("k", "dim", "largest"), (1, -1, True))
            self._look(args[0], dim, count + 1, is_descending=is_largest)
        elif func in _SORTING:
            (dim,) = _given(args, kwargs, ("dim",), (-1,))
            self._look(args[0], dim, None)
        elif func in _CHOOSING:
            (dim,) = _given(args, kwargs, ("dim",), (None,))
            flat = args[0] if dim is not None else args[0].flatten()
            self.is_close |= _closest(flat, dim if dim is not None else 0, 2, is_descending=_CHOOSING[func])[1]
        elif func in _PICKING:
            self._look(args[0], _given(args, kwargs, _PICKING[func], (None, -1)[-len(_PICKING[func]) :])[-1], None)
        return func(*args, **kwargs)

    def _look(self, tensor: Tensor, dim: int, count: int | None, *, is_descending: bool = False) -> None:
        is_tied, is_close = _closest(tensor, dim, count, is_descending=is_descending)
        self.is_found |= is_tied
        self.is_close |= is_close


class Turned(OperatorMode):
    """Has what picks or orders elements go through them in another order, so that of equal ones it takes others.

    It takes the first of them with 0, as ONNX's `TopK` does, the last with 1, and with others whichever are drawn.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._draw = torch.Generator().manual_seed(number)

    def _operator(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        names = _TURNED.get(func)
        axis = _given(args, kwargs, names, (-1,) * len(names))[-1] if names else None
        if axis is None or not args[0].dim():
            return func(*args, **kwargs)
        order = self._order(args[0].shape[axis]).to(args[0].device)
        values, places = _stable(func)(args[0].index_select(axis, order), *args[1:], **kwargs)
        return values, order[places]

    def _order(self, count: int) -> Tensor:
        if self._number > 1:
            return torch.randperm(count, generator=self._draw)
        return torch.arange(count).flip(0) if self._number else torch.arange(count)


_TURNED = {torch.ops.aten.topk.default: ("k", "dim"), torch.ops.aten.sort.default: ("dim",), **_PICKING}


def _stable(func: Any) -> Callable[..., tuple[Tensor, Tensor]]:
    """The same operator, but that it takes the first of equal elements, where it takes more than one."""

    def sort(tensor: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
        return torch.sort(tensor, dim=dim, descending=descending, stable=True)

    def topk(
        tensor: Tensor, k: int, dim: int = -1, largest: bool = True, *_: bool, **__: bool
    ) -> tuple[Tensor, Tensor]:
        values, places = sort(tensor, dim, largest)
        return values.narrow(dim, 0, k), places.narrow(dim, 0, k)

    stable: Mapping[Any, Any] = {torch.ops.aten.topk.default: topk, torch.ops.aten.sort.default: sort}
    return stable.get(func, func)  # type: ignore[no-any-return]  # torch leaves its operators without annotations


def _closest(tensor: Tensor, dim: int, count: int | None, *, is_descending: bool) -> tuple[bool, bool]:
    """Whether two of the first so many elements are equal, and whether two are almost equal."""
    if tensor.dim() == 0 or not tensor.numel():
        return False, False
    ordered = tensor.sort(dim, descending=is_descending).values.movedim(dim, -1)[..., :count]
    is_tied = bool((ordered[..., 1:] == ordered[..., :-1]).any())
    if not tensor.is_floating_point():
        return is_tied, False
    gaps, sizes = (ordered[..., 1:] - ordered[..., :-1]).abs(), ordered.abs()
    largest = sizes.where(sizes < _MASKING, torch.zeros_like(sizes)).amax(-1, keepdim=True)
    is_close = (gaps > 0) & (gaps <= _CLOSE * largest)
    return is_tied, bool(is_close.any())


def _given(args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str], default: Sequence[Any]) -> list[Any]:
    """The arguments after the first, by position or name."""
    placed = dict(zip(names, args[1:], strict=False))
    return [placed.get(name, kwargs.get(name, value)) for name, value in zip(names, default, strict=True)]
