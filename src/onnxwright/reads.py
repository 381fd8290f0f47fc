"""Sees what Python reads of the inputs while a module runs: branches on values, `.item()`, `.tolist()`, numpy.

A traced graph keeps such a value as it was for the example. Sizes don't count: only tensors computed from the
values of an input do, which is followed from operator to operator.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_BRANCH = "value-branch-frozen"
_SCALAR = "scalar-from-tensor"
_OUTSIDE = "numpy-outside-graph"

_READERS = {
    "__bool__": (_BRANCH, "branches on a value"),
    "__int__": (_SCALAR, "makes an int of a value"),
    "__float__": (_SCALAR, "makes a float of a value"),
    "__complex__": (_SCALAR, "makes a complex number of a value"),
    "__index__": (_SCALAR, "counts with a value"),
    "item": (_SCALAR, "reads a value with .item()"),
    "tolist": (_SCALAR, "reads a value with .tolist()"),
    "numpy": (_OUTSIDE, "hands a value to numpy"),
    "__array__": (_OUTSIDE, "hands a value to numpy"),
    "__dlpack__": (_OUTSIDE, "hands a value to another library"),
    "data_ptr": (_OUTSIDE, "asks for the address of a value"),
    "storage": (_OUTSIDE, "asks for the memory of a value"),
    "untyped_storage": (_OUTSIDE, "asks for the memory of a value"),
    "__repr__": (_OUTSIDE, "prints a value"),
    "__format__": (_OUTSIDE, "prints a value"),
    "is_nonzero": (_BRANCH, "branches on a value"),
    "equal": (_BRANCH, "compares a value"),
    "allclose": (_BRANCH, "compares a value"),
}
"""The methods by which Python reads a tensor: what such a read is called among the findings, and in words."""
_SHAPE_ONLY = {
    f"aten::{name}"
    for name in (
        *("size", "sym_size", "sym_stride", "sym_numel", "sym_storage_offset", "stride", "numel", "dim"),
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "is_same_size"),
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"),
    )
}
"""Operators that look at a tensor's shape and type, and at none of its values."""


class Read(NamedTuple):
    """One place where Python reads values that come from an input."""

    where: str
    what: str
    code: str


class ValueReads:
    """Collects the reads of tensors that come from the inputs, while it is entered.

    Works in eager mode and under TorchScript tracing alike. With `is_chance_followed`, tensors that come from torch's
    random generators are followed likewise.
    """

    def __init__(self, *, is_chance_followed: bool = False) -> None:
        self.is_chance_followed = is_chance_followed
        self.found: list[Read] = []
        self._storages: dict[int, StorageWeakRef] = {}
        self._entered = contextlib.ExitStack()

    def mark(self, tensors: Iterable[Any]) -> None:
        """Declares that these tensors, and whatever shares their memory, carry values of the inputs."""
        for storage in filter(None, map(_storage, tensors)):
            self._storages[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]  # torch's

    def carries(self, values: Iterable[Any]) -> bool:
        """Whether any of these is a tensor that carries values of the inputs."""
        kept = (self._storages.get(storage._cdata) for storage in filter(None, map(_storage, values)))
        return any(one is not None and not one.expired() for one in kept)  # type: ignore[no-untyped-call]  # torch's

    def note(self, what: str, code: str = _SCALAR) -> None:
        """Records a read at the innermost line of Python that is not torch's own; the first one of each line."""
        where = user_line()
        if where not in (read.where for read in self.found):
            self.found.append(Read(where, what, code))

    def __enter__(self) -> Self:
        self._entered.enter_context(_Follow(self))
        self._entered.enter_context(_watched(self))
        return self

    def __exit__(self, *problem: object) -> None:
        self._entered.close()


def _storage(value: Any) -> torch.UntypedStorage | None:
    """The memory of a tensor, asked for past the methods that are watched; sparse tensors have none of their own."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided:
        return None
    return torch._C.TensorBase.untyped_storage(value)


class _Follow(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    def __init__(self, reads: ValueReads) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self._reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        if self._reads.is_chance_followed and torch.Tag.nondeterministic_seeded in func.tags:
            self._reads.mark(tree_leaves(answer))
        if func._schema.name not in _SHAPE_ONLY and self._reads.carries(tree_leaves((args, kwargs or {}))):
            answered = tree_leaves(answer)
            if any(isinstance(one, (bool, int, float, complex)) for one in answered):
                self._reads.note("reads a value")
            self._reads.mark([*answered, *_written(func, args)])
        return answer


@contextlib.contextmanager
def _watched(reads: ValueReads) -> Iterator[None]:
    """Wraps the methods by which Python reads a tensor.

    A `TorchFunctionMode` would see them too, but it puts a frame of its own between the user's line and each
    operator, and TorchScript writes that frame into the graph as where the operator comes from.
    """
    with contextlib.ExitStack() as stack:
        for name, (code, what) in _READERS.items():
            stack.enter_context(_replaced(name, _noting(getattr(Tensor, name), reads, what, code)))
        yield


def _noting(method: Callable[..., Any], reads: ValueReads, what: str, code: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if reads.carries((tensor, *args)):
            reads.note(what, code)
        return method(tensor, *args, **kwargs)

    return read


@contextlib.contextmanager
def _replaced(name: str, method: Callable[..., Any]) -> Iterator[None]:
    inherited = object()
    before = vars(Tensor).get(name, inherited)
    setattr(Tensor, name, method)
    try:
        yield
    finally:
        if before is inherited:
            delattr(Tensor, name)
        else:
            setattr(Tensor, name, before)


def _written(func: Any, args: Any) -> list[Any]:
    return [
        arg
        for arg, declared in zip(args, func._schema.arguments, strict=False)
        if declared.alias_info is not None and declared.alias_info.is_write
    ]


def user_line() -> str:
    """Returns `file.py:line` of the innermost frame that belongs neither to torch nor to onnxwright."""
    own = _own()
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        frame = frame.f_back
    return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"


def _own() -> tuple[str, str]:
    return str(Path(torch.__file__).parent), str(Path(__file__).parent)


def user_line_among(frames: Iterable[tuple[str, int]]) -> str | None:
    """Returns `file.py:line` of the first frame that belongs neither to torch nor to onnxwright, nor to no file."""
    own = _own()
    foreign = (frame for frame in frames if not frame[0].startswith((*own, "<")))
    return next((f"{_short(file)}:{line}" for file, line in foreign), None)


def _short(file: str) -> str:
    for folder in sorted(map(str, map(Path, sys.path)), key=len, reverse=True):
        if folder not in ("", ".") and file.startswith(folder.rstrip("/") + "/"):
            return file[len(folder.rstrip("/")) + 1 :]
    return Path(file).name


def user_line_of(problem: BaseException) -> str:
    """Returns `file.py:line` of the innermost frame of a traceback that belongs neither to torch nor to onnxwright."""
    lines = [(trace.tb_frame.f_code.co_filename, trace.tb_lineno) for trace in _traces(problem)]
    foreign = [(file, line) for file, line in lines if not file.startswith(_own())]
    file, line = (foreign or lines)[-1]
    return f"{_short(file)}:{line}"


def _traces(problem: BaseException) -> Iterator[TracebackType]:
    trace = problem.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next
