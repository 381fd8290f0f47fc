"""Whether a module picks among equal elements: which one, PyTorch does not define."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_SORTING = {torch.ops.aten.sort.default, torch.ops.aten.msort.default}
_PICKING = {
    torch.ops.aten.kthvalue.default: ("k", "dim"),
    torch.ops.aten.median.dim: ("dim",),
    torch.ops.aten.mode.default: ("dim",),
}


class Ties(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    """Looks at every operator that picks or orders elements while it is entered; `is_found` says whether two tied."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.is_found = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.ops.aten.topk.default:
            count, dim, is_largest = _given(args, kwargs, ("k", "dim", "largest"), (1, -1, True))
            self._look(args[0], dim, count + 1, is_descending=is_largest)
        elif func in _SORTING:
            (dim,) = _given(args, kwargs, ("dim",), (-1,))
            self._look(args[0], dim, None)
        elif func in _PICKING:
            self._look(args[0], _given(args, kwargs, _PICKING[func], (None, -1)[-len(_PICKING[func]) :])[-1], None)
        return func(*args, **kwargs)

    def _look(self, tensor: Tensor, dim: int, count: int | None, *, is_descending: bool = False) -> None:
        if tensor.dim() == 0 or self.is_found:
            return
        ordered = tensor.sort(dim, descending=is_descending).values.movedim(dim, -1)[..., :count]
        self.is_found = bool((ordered[..., 1:] == ordered[..., :-1]).any())


def _given(args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str], default: Sequence[Any]) -> list[Any]:
    """The arguments after the first, by position or name."""
    placed = dict(zip(names, args[1:], strict=False))
    return [placed.get(name, kwargs.get(name, value)) for name, value in zip(names, default, strict=True)]
