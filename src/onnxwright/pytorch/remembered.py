"""What Python read of tensors in one run, answered again in a run that has no values: one on fake tensors, say.

So such a run gets past `if x.mean() > 0:`, and goes the way that the values went.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from onnxwright.pytorch.replacing import in_class

_READING: Final = ("__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy", "__array__")
_COUNTING: Final = ("tolist", "numpy", "__array__")
"""Those of which a tensor without values asks how many it has, which nobody else does."""
_SYMBOLIC: Final = (torch.SymBool, torch.SymInt, torch.SymFloat)

_Method = Callable[..., Any]


class Reading(NamedTuple):
    """One read of a tensor: by which method, and what was answered."""

    method: str
    answer: Any

    @property
    def decided(self) -> tuple[str, bool | None]:
        """The method, and the answer where that is a truth value."""
        return self.method, self.answer if isinstance(self.answer, bool) else None


@contextlib.contextmanager
def remembering() -> Iterator[list[Reading]]:
    """Collects what Python reads of tensors, in order, while entered."""
    found: list[Reading] = []

    def read(name: str, own: _Method, *args: Any, **kwargs: Any) -> Any:
        answer = own(*args, **kwargs)
        found.append(Reading(name, copy.deepcopy(answer)))
        return answer

    with reading(read):
        yield found


@contextlib.contextmanager
def recalling(readings: Sequence[Reading]) -> Iterator[None]:
    """Has Python be answered what it was in another run, where a tensor can't tell, while entered."""
    waiting = iter(readings)

    def read(name: str, own: _Method, *args: Any, **kwargs: Any) -> Any:
        known = next(waiting, None)
        if known is None or known.method != name:
            return own(*args, **kwargs)
        if name in _COUNTING:
            return copy.deepcopy(known.answer)
        try:
            answer = own(*args, **kwargs)
        except Exception:  # noqa: BLE001 - what follows tensors without values refuses with types of its own
            return copy.deepcopy(known.answer)
        return copy.deepcopy(known.answer) if is_unknown(answer) else answer

    with reading(read):
        yield


def is_unknown(answer: Any) -> bool:
    """Whether numbers stand for values that aren't known, and not for what is computed from sizes."""
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

    return any(isinstance(one, _SYMBOLIC) and bool(free_unbacked_symbols(one)) for one in tree_leaves(answer))


@contextlib.contextmanager
def reading(read: Callable[..., Any]) -> Iterator[None]:
    """Hands reads of tensors to a function, with the method by name and itself; not those made by another read."""
    inside = False

    def standing_in(name: str, own: _Method) -> _Method:
        @functools.wraps(own)
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:
                return own(*args, **kwargs)
            inside = True
            try:
                return read(name, own, *args, **kwargs)
            finally:
                inside = False

        return stand_in

    from torch._subclasses.fake_tensor import FakeTensor

    own = [(kind, name, getattr(kind, name)) for kind in (Tensor, FakeTensor) for name in _READING]
    own = [(kind, name, method) for kind, name, method in own if kind is Tensor or name in vars(kind)]
    with contextlib.ExitStack() as entered:
        for kind, name, method in own:
            entered.enter_context(in_class(kind, name, standing_in(name, method)))
        yield
