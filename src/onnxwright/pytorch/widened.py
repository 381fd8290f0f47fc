"""A module in float64 without a copy of it: every operator computes on widened tensors, and Python sees the old types.

A tensor that an operator answers is kept in float64 behind a tensor that says it is float32, so that checks of types,
`.float()` and `torch.finfo` go the way that they always go. Weights are widened for the one call that computes with
them; operators that only move data leave them as they are, so that no embedding table is copied.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from onnxwright.pytorch.dispatching import OperatorMode
from onnxwright.pytorch.modules import layers_as_written, setting

_WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
_HALVES = {torch.float16, torch.bfloat16, torch.complex32}
_COMPLEX = {torch.float16: torch.complex32, torch.bfloat16: torch.complex64, torch.float32: torch.complex64}
_REAL = {torch.complex32: torch.float16, torch.complex64: torch.float32}
_MOVING = {
    f"aten::{name}"
    for name in (
        *("embedding", "gather", "index", "index_select", "take", "take_along_dim", "masked_select", "clone", "cat"),
        *(
            "stack",
            "repeat",
            "repeat_interleave",
            "flip",
            "roll",
            "constant_pad_nd",
            "reflection_pad1d",
            "tril",
            "triu",
        ),
        *("lift_fresh", "lift_fresh_copy", "nonzero", "lift"),
    )
}
"""Operators that answer a copy of what they are given and compute nothing: they run before their answer is widened."""


_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}
_LARGE = 1 << 22
"""Of a weight with more elements than this, so many at a time are widened for a product."""
_READING_BITS = {torch.ops.aten.view.dtype}


class _Wide(Tensor):
    """A tensor that says that it is of a narrow type, and holds a wide one."""

    wide: Tensor
    is_rounded: bool = False
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # torch's own way

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]  # torch declares it without a default
        """Refuses what comes after the run that made it."""
        raise NotImplementedError(f"{func}: a widened tensor outside of the run that made it")

    def numpy(self, *, force: bool = False) -> Any:
        """Hands the numbers to numpy, in the type that the tensor says it has."""
        with no_dispatch():
            return self.wide.to(self.dtype).numpy(force=force)

    def __array__(self, dtype: Any = None) -> Any:
        """Hands the numbers to numpy."""
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def tolist(self) -> Any:
        """Hands the numbers to Python, in the type that the tensor says it has."""
        return self.numpy().tolist()


class Widening(OperatorMode):
    """Runs every operator in float64; `narrow` names those that can't, which ran as they are.

    Tensors know whether an operator on their way would have rounded them to a half-precision type.
    """

    def __init__(self) -> None:
        super().__init__()
        self.narrow: set[str] = set()
        self._settings = contextlib.ExitStack()

    def __enter__(self) -> Any:
        # Their kernels for whole layers are there in float32 alone.
        self._settings.enter_context(without_fast_paths())
        return super().__enter__()

    def __exit__(self, *problem: object) -> None:
        super().__exit__(*problem)
        self._settings.close()

    def _operator(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if forward_ad._current_level >= 0:
            raise NotImplementedError(f"{func}: in a derivative that is taken forward")  # PyTorch itself would crash
        leaves = tree_leaves((args, kwargs))
        given = [one for one in leaves if isinstance(one, Tensor)]
        is_plain = not any(isinstance(one, _Wide) for one in given)
        if is_plain and func.is_view:
            return func(*args, **kwargs)
        dtype = _said(given, [one for one in leaves if isinstance(one, torch.dtype)])
        if _rolls_dice(func) or (is_plain and given and func._schema.name in _MOVING):
            return _wrapped(func(*_narrowed(args), **_narrowed(kwargs)), dtype)
        if func in _READING_BITS and not is_plain:
            raise NotImplementedError(f"{func}: reads the bits of a float32")
        answer = self._computed(func, args, kwargs, dtype)
        return _rounded(answer) if dtype in _HALVES or any(map(is_rounded, given)) else answer

    def _computed(self, func: Any, args: Any, kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
        written, copies = _written(func, args, kwargs), _Copies()
        wide = copies.of(kwargs)
        try:
            with setting(torch.set_default_dtype, torch.float64, torch.get_default_dtype()):
                answer = (
                    _product(func, args, copies) if _is_large_product(func, args) else func(*copies.of(args), **wide)
                )
        except (RuntimeError, NotImplementedError):
            if any(isinstance(one, _Wide) for one in written):
                raise
            self.narrow.add(func._schema.name.removeprefix("aten::"))
            answer = func(*_narrowed(args), **_narrowed(kwargs))
            return answer if written else _wrapped(answer, dtype)
        if torch.Tag.inplace_view in func.tags:
            with no_dispatch():  # what the tensor says of its shape follows what it holds
                func(*args, **kwargs)
        for one in written:
            if one.dtype in _WIDE and not isinstance(one, _Wide):
                one.copy_(copies.made[id(one)])
        return _same(answer, copies, dtype)


@contextlib.contextmanager
def without_fast_paths() -> Iterator[None]:
    """Has torch compute operator by operator, where it has fused kernels of its own."""
    with setting(torch._C._set_mkldnn_enabled, False, torch._C._get_mkldnn_enabled()), layers_as_written():
        yield


def widen(tensor: Tensor, *, shift: float = 0.0) -> Tensor:
    """Returns a tensor that computes in float64 while a `Widening` is entered, each number shifted by a part of it."""
    wide = tensor if not shift or not tensor.is_floating_point() else tensor * (1.0 + shift * _signs(tensor))
    wrapped: Tensor = _wrapped(wide, tensor.dtype)
    return wrapped


def _signs(tensor: Tensor) -> Tensor:
    """One or minus one for each element, the same each time."""
    draw = torch.Generator().manual_seed(tensor.numel())
    return torch.randint(0, 2, tensor.shape, generator=draw).to(tensor.device, torch.float64) * 2 - 1


def is_rounded(tensor: Tensor) -> bool:
    """Whether an operator on the way of a widened tensor would have rounded it to a half-precision type."""
    return isinstance(tensor, _Wide) and tensor.is_rounded


def unwrapped(tensor: Tensor) -> Tensor:
    """Returns what a widened tensor holds."""
    return tensor.wide if isinstance(tensor, _Wide) else tensor


class _Copies:
    """The arguments of one call, widened, types too; each tensor once."""

    def __init__(self) -> None:
        self.made: dict[int, Tensor] = {}
        self._owners: dict[int, Tensor] = {}

    def of(self, values: Any) -> Any:
        return tree_map(self._widened, values)

    def owner(self, tensor: Tensor) -> Tensor | None:
        """The argument that a tensor is the widened form of."""
        return self._owners.get(id(tensor))

    def _widened(self, value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return _WIDE.get(value, value)
        return self._tensor(value) if isinstance(value, Tensor) else value

    def _tensor(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self.made:
            wide = tensor.wide if isinstance(tensor, _Wide) else tensor.to(_WIDE.get(tensor.dtype, tensor.dtype))
            self.made[id(tensor)] = wide
            self._owners[id(wide)] = tensor
        return self.made[id(tensor)]


def _is_large_product(func: Any, args: Any) -> bool:
    return func in _PRODUCTS and not isinstance(args[-1], _Wide) and args[-1].numel() > _LARGE


def _product(func: Any, args: Any, copies: _Copies) -> Tensor:
    """A product with a large weight (the table of all words, at the end of a language model), in parts."""
    *added, rows, weight = args
    added, rows, width = copies.of(added), copies.of(rows), weight.shape[1]
    step = max(1, _LARGE // weight.shape[0])
    parts = []
    for columns in (slice(start, start + step) for start in range(0, width, step)):
        part = [one[..., columns] if one.shape[-1] == width else one for one in added]
        parts.append(func(*part, rows, weight[:, columns].to(torch.float64)))
    return torch.cat(parts, 1)


def _same(answer: Any, copies: _Copies, dtype: torch.dtype) -> Any:
    """Wraps an answer; what is an argument itself, as of operators in place, is answered as that argument."""

    def wrapped(one: Tensor) -> Tensor:
        owner = copies.owner(one)
        return owner if owner is not None else _wrapped(one, dtype)

    return tree_map_only(Tensor, wrapped, answer)


def _wrapped(answer: Any, dtype: torch.dtype) -> Any:
    """Puts wide tensors behind ones that say `dtype`, or its complex or real twin; narrow ones are widened first."""

    def wrapped(one: Tensor) -> Tensor:
        if one.dtype in _WIDE:
            return _behind(one.to(_WIDE[one.dtype]), one.dtype)
        if one.dtype is torch.float64 and _REAL.get(dtype, dtype) in _WIDE:
            return _behind(one, _REAL.get(dtype, dtype))
        if one.dtype is torch.complex128 and _COMPLEX.get(dtype, dtype) in _WIDE:
            return _behind(one, _COMPLEX.get(dtype, dtype))
        return one

    return tree_map_only(Tensor, wrapped, answer)


def _behind(wide: Tensor, dtype: torch.dtype) -> _Wide:
    made: _Wide = Tensor._make_wrapper_subclass(
        _Wide,
        wide.shape,
        strides=wide.stride(),
        storage_offset=wide.storage_offset(),
        dtype=dtype,
        device=wide.device,
    )
    made.wide = wide
    # Else its address is zero, and code that reads there ends the process.
    torch._C._set_throw_on_mutable_data_ptr(made)
    return made


def _rounded(answer: Any) -> Any:
    """Notes that tensors would have been rounded to halves on their way."""
    for one in tree_leaves(answer):
        if isinstance(one, _Wide):
            one.is_rounded = True
    return answer


def _narrowed(values: Any) -> Any:
    return tree_map_only(_Wide, lambda one: one.wide.to(one.dtype), values)


def _said(given: Iterable[Tensor], asked: Iterable[torch.dtype]) -> torch.dtype:
    """The type that an answer would have had: the one asked for, else what the arguments promote to."""
    for dtype in asked:
        if dtype.is_floating_point or dtype.is_complex:
            return dtype
    floats = [one for one in given if one.is_floating_point() or one.is_complex()]
    said = [one.dtype for one in floats if one.dim()] or [one.dtype for one in floats]
    return functools.reduce(torch.promote_types, said) if said else torch.get_default_dtype()


def _rolls_dice(func: Any) -> bool:
    """Whether an operator draws numbers, which float64 would draw otherwise; attention does so for dropout alone."""
    is_attention = any(argument.name == "dropout_p" for argument in func._schema.arguments)
    return torch.Tag.nondeterministic_seeded in func.tags and not is_attention


def _written(func: Any, args: Any, kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The arguments that an operator writes into."""
    found = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = kwargs.get(argument.name) if place >= len(args) else args[place]
            found += [one for one in tree_leaves(value) if isinstance(one, Tensor)]
    return found
