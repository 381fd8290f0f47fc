"""What our dispatch modes share: each sees every operator, also those that an operator of higher order is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

_Mode: Any = TorchDispatchMode


class OperatorMode(_Mode):  # type: ignore[misc]  # torch leaves it without annotations
    """Has `_operator` called in place of each operator, while it is entered.

    One of higher order (FlexAttention) runs as on any tensors, with the mode on inside.
    """

    supports_higher_order_operators = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if not isinstance(func, HigherOrderOperator):
            return self._operator(func, args, dict(kwargs or {}))
        with self._inside():
            return _dense(func)(*args, **(kwargs or {}))

    def _operator(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        """Enters the mode again, and none of what a mode of ours enters with itself."""
        _Mode.__enter__(self)
        try:
            yield
        finally:
            _Mode.__exit__(self, None, None, None)


def _dense(func: HigherOrderOperator) -> Callable[..., Any]:
    """What computes an operator of higher order on dense tensors.

    Raises:
        NotImplementedError: when nothing does.
    """
    made = func.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)
    if made is None:
        raise NotImplementedError(f"{func}: an operator of higher order without an implementation in Python")
    return made
