"""Where Python makes numbers of sizes while a module runs on symbolic ones; no condition tells what it decides by them.

`table[n]`, `hash(x.shape)` and `f"{n}"` take a size as a number. So does `torch.ones(n).sum().item()`, by way of a
tensor that is computed from sizes alone.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onnxwright.findings import Finding
from onnxwright.pytorch.lines import Line, Place, Whereabouts, is_users_frame
from onnxwright.pytorch.reads import SHAPE_ONLY
from onnxwright.pytorch.remembered import is_unknown, reading
from onnxwright.pytorch.replacing import in_class

_NUMBERS: Final = ("__int__", "__index__", "__float__", "__hash__", "__repr__", "__str__", "__format__")
_NAMED: Final = ("__repr__", "__str__", "__format__")
"""Those that answer with a name instead of a number, so that nothing is assumed of the size."""
_SYMBOLIC: Final = (torch.SymInt, torch.SymFloat)
_MESSAGE: Final = "Python takes this size as a number; what it decides with it can't be followed."
_UNFOLLOWED: Final = (
    "Python decides by a size here, and the module can't be followed so far on symbolic sizes: "
    "which sizes it decides differently was tried on those of the proof alone."
)


class Taken(NamedTuple):
    """Where a number is made of sizes, by their symbols."""

    place: Place
    symbols: frozenset[Any]
    is_silent: bool = False
    """Whether nothing is assumed of the sizes: not that they are what they are in this run."""


class Taking(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    """Collects where Python takes sizes as numbers, with the symbols of these sizes, while it is entered.

    Tensors that come from the inputs carry values: what Python reads of these is none of sizes.
    """

    def __init__(self, inputs: Iterable[Tensor], whereabouts: Whereabouts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.found: list[Taken] = []
        self._whereabouts = whereabouts
        self._kept: list[Any] = list(inputs)  # an id is another tensor's once its own is gone
        self._valued = {id(one) for one in self._kept}
        self._sized: dict[int, frozenset[Any]] = {}
        self._entered = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._entered.enter_context(reading(self._read))
        for kind in _SYMBOLIC:
            for name in (one for one in _NUMBERS if hasattr(kind, one)):
                self._entered.enter_context(
                    _watched(kind, name, functools.partial(self._note, is_silent=name in _NAMED))
                )
        self._entered.enter_context(_property_watched("nbytes", self._note_shape))
        super().__enter__()  # type: ignore[no-untyped-call]  # likewise
        return self

    def __exit__(self, *problem: object) -> None:
        super().__exit__(*problem)  # type: ignore[no-untyped-call]  # likewise
        self._entered.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        given = tree_leaves((args, kwargs or {}))
        written = args[:1] if func._schema.is_mutable else ()
        made = [one for one in tree_leaves((answer, written)) if isinstance(one, Tensor)]
        if func._schema.name not in SHAPE_ONLY and any(id(one) in self._valued for one in given):
            self._keep(made)
            self._valued |= set(map(id, made))
            return answer
        symbols = frozenset[Any]().union(*map(self._symbols, given))
        if symbols and any(isinstance(one, (bool, int, float)) for one in tree_leaves(answer)):
            self._note(symbols, is_silent=True)  # `is_same_size`, say
        if symbols:
            self._keep(made)
            self._sized.update({id(one): symbols for one in made if id(one) not in self._valued})
        return answer

    def _keep(self, values: Iterable[Any]) -> None:
        self._kept += [one for one in values if isinstance(one, Tensor)]

    def _symbols(self, value: Any) -> frozenset[Any]:
        """The sizes that a number, or the shape or the values of a tensor, come from."""
        if isinstance(value, _SYMBOLIC):
            return frozenset(value.node.expr.free_symbols)
        if not isinstance(value, Tensor):
            return frozenset()
        sizes: Iterable[Any] = value.shape
        of_shape = (self._symbols(size) for size in sizes)
        return self._sized.get(id(value), frozenset()).union(*of_shape)

    def _read(self, _: str, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        symbols = frozenset[Any]() if id(args[0]) in self._valued else self._symbols(args[0])
        if not symbols or not is_users_frame(sys._getframe(2)):
            return own(*args, **kwargs)
        try:
            answer = own(*args, **kwargs)
        except Exception:
            self._note(symbols)
            raise
        if not any(isinstance(one, (*_SYMBOLIC, torch.SymBool)) for one in tree_leaves(answer)) or is_unknown(answer):
            self._note(symbols)
        return answer

    def _note_shape(self, tensor: Tensor) -> None:
        symbols = self._symbols(tensor)
        if symbols and is_users_frame(sys._getframe(2)):
            self._note(symbols)

    def _note(self, symbols: frozenset[Any], *, is_silent: bool = False) -> None:
        self.found.append(Taken(self._whereabouts.place, symbols, is_silent))


def _watched(kind: type, name: str, note: Callable[[frozenset[Any]], None]) -> contextlib.AbstractContextManager[None]:
    """Notes the symbols of a symbolic number wherever the user's code calls a method of it."""
    own = getattr(kind, name)

    @functools.wraps(own)
    def number(symbolic: Any, *args: Any) -> Any:
        symbols = frozenset(getattr(symbolic.node.expr, "free_symbols", ()))
        if symbols and is_users_frame(sys._getframe(1)):
            note(symbols)
        return own(symbolic, *args)

    return in_class(kind, name, number)


def _property_watched(name: str, note: Callable[[Tensor], None]) -> contextlib.AbstractContextManager[None]:
    """Notes of which tensors a property is asked for."""
    own = getattr(Tensor, name)

    def get(tensor: Tensor) -> Any:
        note(tensor)
        return own.__get__(tensor)

    return in_class(Tensor, name, property(get))


def by_dim(found: Iterable[Taken], symbols: Mapping[Any, str]) -> dict[str, Finding]:
    """Says of each dim where a number is made of its size; `symbols` say which dim each is."""
    dims: dict[str, Finding] = {}
    for one in found:
        for symbol in sorted(one.symbols & symbols.keys(), key=str):
            dims.setdefault(symbols[symbol], one.place.finding("size-read-in-python", _MESSAGE))
    return dims


def unfollowed(decided: Iterable[Place], follows: Callable[[Line], bool]) -> list[Finding]:
    """Tells where Python decides by a size at a line to which nobody could follow it: by samples alone it's known."""
    place = next((one for one in decided if not follows(one.line)), None)
    return [place.finding("not-tried", _UNFOLLOWED)] if place is not None else []
