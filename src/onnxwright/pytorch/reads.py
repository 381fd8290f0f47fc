"""Sees what Python reads of the inputs while a module runs: branches on values, `.item()`, `.tolist()`, numpy.

A traced graph keeps such a value as it was for the example. Tensors computed from the values of an input are followed
from operator to operator, and so are sizes that depend on values (of what `nonzero` answers, say). Other sizes are
tensors too while a module is traced; where Python makes numbers of them, nobody can follow what it decides with these.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onnxwright.pytorch.lines import Place, Whereabouts, is_users_frame, user_line
from onnxwright.pytorch.modules import CompiledPart
from onnxwright.pytorch.replacing import unread_by

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
    "apply_": (_OUTSIDE, "hands a value to a function"),
    "map_": (_OUTSIDE, "hands a value to a function"),
    "map2_": (_OUTSIDE, "hands a value to a function"),
}
"""The methods by which Python reads a tensor: what such a read is called among the findings, and in words."""
SHAPE_ONLY = {
    f"aten::{name}"
    for name in (
        *("size", "sym_size", "sym_stride", "sym_numel", "sym_storage_offset", "stride", "numel", "dim"),
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "is_same_size"),
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"),
    )
}
"""Operators that look at a tensor's shape and type, and at none of its values."""

_AS_FIRST = {
    f"aten::{name}"
    for name in (
        *("index_add", "index_copy", "index_fill", "index_put", "_index_put_impl", "masked_fill", "masked_scatter"),
        *("scatter", "scatter_add", "scatter_reduce", "copy"),
    )
}
"""Operators that answer in the shape of what they are given first, whatever the shapes of the others."""

_IN_PIECES = {"aten::split", "aten::split_with_sizes", "aten::unbind"}
"""Operators that answer with as many tensors as a size asks for; rows taken one by one come from the last of them."""

_NUMBERS = (
    "__int__",
    "__float__",
    "__index__",
    "__hash__",
    "__repr__",
    "__format__",
    "item",
    "tolist",
    "numpy",
    "__array__",
    "__reduce_ex__",
)
"""The methods by which Python makes of a size, or of a tensor that is as long as one, something to decide with."""
_COUNTS = ("__len__", "stride", "storage_offset")
"""The methods that answer a plain number of a tensor's shape also while it is traced."""


class SizeRead(NamedTuple):
    """One place where Python takes a size as a number, and which."""

    place: Place
    number: int


class Read(NamedTuple):
    """One place where Python reads values that come from an input."""

    place: Place
    what: str
    code: str


class ValueReads:
    """Collects the reads of tensors that come from the inputs, while it is entered.

    Works in eager mode and under TorchScript tracing alike. With `is_chance_followed`, tensors that come from torch's
    random generators are followed likewise.
    """

    def __init__(self, whereabouts: Whereabouts | None = None, *, is_chance_followed: bool = False) -> None:
        self.is_chance_followed = is_chance_followed
        self._whereabouts = whereabouts
        self.found: list[Read] = []
        self.sizes: list[SizeRead] = []
        self.questions: list[Place] = []
        self._storages: dict[int, StorageWeakRef] = {}
        self._shaped: dict[int, StorageWeakRef] = {}
        self._measured: dict[int, StorageWeakRef] = {}
        self._entered = contextlib.ExitStack()

    def mark(self, tensors: Iterable[Any]) -> None:
        """Declares that these tensors, and whatever shares their memory, carry values of the inputs."""
        _keep(self._storages, tensors)

    def carries(self, values: Iterable[Any]) -> bool:
        """Whether any of these is a tensor that carries values of the inputs."""
        return _holds(self._storages, values)

    def mark_shaped(self, tensors: Iterable[Any]) -> None:
        """Declares that the shapes of these tensors depend on values of the inputs."""
        _keep(self._shaped, tensors)

    def has_shaped(self, values: Iterable[Any]) -> bool:
        """Whether the shape of any of these depends on values of the inputs."""
        return _holds(self._shaped, values)

    def mark_measured(self, tensors: Iterable[Any]) -> None:
        """Declares that these tensors are sizes, or computed from sizes."""
        _keep(self._measured, tensors)

    def is_measured(self, values: Iterable[Any]) -> bool:
        """Whether any of these is a size, or computed from one."""
        return _holds(self._measured, values)

    def note_size(self, number: int) -> None:
        """Records that Python takes a size as a number; what is compiled takes it anew in each call."""
        if not CompiledPart.running:
            self.sizes.append(SizeRead(self._place(), number))

    def note_sizes(self, tensors: Iterable[Tensor]) -> None:
        """Records that Python takes all sizes of some tensors as numbers."""
        for tensor in tensors:
            for size in torch._C.TensorBase.size(tensor):
                self.note_size(int(size))

    def note_question(self) -> None:
        """Records that Python decides by a size."""
        self.questions.append(self._place())

    def note(self, what: str, code: str = _SCALAR) -> None:
        """Records a read at the innermost line of Python that is not torch's own; the first one of each line."""
        if CompiledPart.running:
            return
        place = self._place()
        if place.line not in (read.place.line for read in self.found):
            self.found.append(Read(place, what, code))

    def _place(self) -> Place:
        return Place(self._whereabouts.module if self._whereabouts else "", user_line())

    def __enter__(self) -> Self:
        self._entered.enter_context(_Follow(self))
        self._entered.enter_context(_watched(self))
        return self

    def __exit__(self, *problem: object) -> None:
        self._entered.close()


def _keep(kept: dict[int, StorageWeakRef], tensors: Iterable[Any]) -> None:
    for storage in _storages(tensors):
        kept[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]  # torch's


def _holds(kept: Mapping[int, StorageWeakRef], values: Iterable[Any]) -> bool:
    found = (kept.get(storage._cdata) for storage in _storages(values))
    return any(one is not None and not one.expired() for one in found)  # type: ignore[no-untyped-call]  # torch's


def _storages(values: Iterable[Any]) -> Iterator[torch.UntypedStorage]:
    return (storage for storage in map(_storage, values) if storage is not None)  # an empty one is false


def _storage(value: Any) -> torch.UntypedStorage | None:
    """The memory of a tensor, asked for past the methods that are watched; sparse tensors have none of their own.

    What the user has put between functions and tensors isn't asked either: it may come back here.
    """
    if not isinstance(value, Tensor) or value.layout is not torch.strided:
        return None
    if torch._C._functorch.is_functorch_wrapped_tensor(value):
        return _storage(torch._C._functorch.get_unwrapped(value))
    with torch._C.DisableTorchFunction():
        return torch._C.TensorBase.untyped_storage(value)


class _Follow(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    def __init__(self, reads: ValueReads) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self._reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        if self._reads.is_chance_followed and torch.Tag.nondeterministic_seeded in func.tags:
            self._reads.mark(tree_leaves(answer))
        self._note_counted(func, args, answer)
        given, answered = tree_leaves((args, kwargs or {})), tree_leaves(answer)
        reads = self._reads
        is_shape_only = func._schema.name in SHAPE_ONLY
        if not is_shape_only and reads.carries(given):
            if any(isinstance(one, (bool, int, float, complex)) for one in answered):
                reads.note("reads a value")
            reads.mark([*answered, *_written(func, args)])
            if torch.Tag.dynamic_output_shape in func.tags and not _is_picking(func, given):
                reads.mark_shaped(answered)
        elif not is_shape_only and reads.is_measured(given):
            reads.mark_measured(answered)
        shaping = given[:1] if func._schema.name.removesuffix("_") in _AS_FIRST else given
        if reads.has_shaped(shaping):
            reads.mark_shaped([one for one in answered if isinstance(one, Tensor) and one.dim()])
        return answer

    def _note_counted(self, func: Any, args: Any, answer: Any) -> None:
        """What an operator answers in Python's own numbers and lists depends on sizes in a way that is not traced."""
        if func._schema.name in _IN_PIECES:
            self._reads.note_size(len(answer))
        elif func._schema.name == "aten::is_same_size":
            self._reads.note_sizes(args)


def _is_picking(func: Any, given: Iterable[Any]) -> bool:
    """Whether an operator picks by positions, not by a mask: how many it picks doesn't depend on values then."""
    is_mask = any(isinstance(one, Tensor) and one.dtype in {torch.bool, torch.uint8} for one in list(given)[1:])
    return func._schema.name in {"aten::index", "aten::index_put", "aten::index_put_"} and not is_mask


@contextlib.contextmanager
def _watched(reads: ValueReads) -> Iterator[None]:
    """Wraps the methods by which Python reads a tensor.

    A `TorchFunctionMode` would see them too, but it puts a frame of its own between the user's line and each
    operator, and TorchScript writes that frame into the graph as where the operator comes from.
    """
    with contextlib.ExitStack() as stack:
        for name, (code, what) in _READERS.items():
            stack.enter_context(_replaced(Tensor, name, _noting(getattr(Tensor, name), reads, what, code)))
        for name in _NUMBERS:
            stack.enter_context(_replaced(Tensor, name, _numbering(getattr(Tensor, name), reads)))
        stack.enter_context(_replaced(Tensor, "__bool__", _asking(Tensor.__bool__, reads)))
        stack.enter_context(_replaced(Tensor, "__hash__", _hashing(Tensor.__hash__, reads)))
        for name in _COUNTS:
            stack.enter_context(_replaced(Tensor, name, _counting(getattr(Tensor, name), reads)))
        for name in ("size", "numel"):
            stack.enter_context(_replaced(Tensor, name, _measuring(getattr(Tensor, name), reads)))
        for name, describe in (("shape", _measuring), ("data", _leaking), ("nbytes", _counting)):
            described = getattr(Tensor, name)
            stack.enter_context(
                _replaced(Tensor, name, property(describe(described.__get__, reads), described.__set__))
            )
        stack.enter_context(_replaced(threading.Thread, "start", _starting(threading.Thread.start, reads)))
        yield


def _noting(method: Callable[..., Any], reads: ValueReads, what: str, code: str) -> Callable[..., Any]:
    is_unread = unread_by(method)

    @functools.wraps(method)
    def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if reads.carries((tensor, *args)) and not is_unread(tensor, *args, **kwargs):
            reads.note(what, code)
        return method(tensor, *args, **kwargs)

    return read


def _measuring(method: Callable[..., Any], reads: ValueReads) -> Callable[..., Any]:
    """A size: while a module is traced it is a tensor, which is followed as what it is."""

    def measure(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        answer = method(tensor, *args, **kwargs)
        sizes = tree_leaves(tuple(answer) if isinstance(answer, tuple) else answer)
        (reads.mark if reads.has_shaped((tensor,)) else reads.mark_measured)(sizes)
        return answer

    return measure


def _numbering(method: Callable[..., Any], reads: ValueReads) -> Callable[..., Any]:
    """A number made of a size by the user's code, or a list as long as one; torch's own makes them for checks."""

    @functools.wraps(method)
    def number(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        frame = sys._getframe(1)
        if is_users_frame(frame) and not _is_cutting(frame):
            if tensor.dim():
                reads.note_sizes([tensor])
            elif reads.is_measured((tensor,)):
                reads.note_size(int(torch._C.TensorBase.item(tensor)))
        return method(tensor, *args, **kwargs)

    return number


def _hashing(method: Callable[..., Any], reads: ValueReads) -> Callable[..., Any]:
    """A whole number that the user's code looks up: a tensor in its place is found nowhere."""

    @functools.wraps(method)
    def number(tensor: Tensor) -> Any:
        is_whole = tensor.dim() == 0 and not tensor.is_floating_point()
        if is_whole and is_users_frame(sys._getframe(1)) and reads.carries((tensor,)):
            reads.note("looks up a value")
        return method(tensor)

    return number


def _asking(method: Callable[..., Any], reads: ValueReads) -> Callable[..., Any]:
    """A truth value that the user's code takes of a size; torch's own takes them for checks."""

    @functools.wraps(method)
    def ask(tensor: Tensor) -> Any:
        if reads.is_measured((tensor,)) and is_users_frame(sys._getframe(1)) and not CompiledPart.running:
            reads.note_question()
        return method(tensor)

    return ask


def _is_cutting(frame: FrameType) -> bool:
    """Whether a frame takes a part of something by brackets: of a tensor, the tracer sees the size in there itself."""
    operation = dis.opname[frame.f_code.co_code[frame.f_lasti]]
    return "SUBSCR" in operation or "SLICE" in operation


def _counting(method: Callable[..., Any], reads: ValueReads) -> Callable[..., Any]:
    def count(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        answer = method(tensor, *args, **kwargs)
        if reads.has_shaped((tensor,)):
            reads.note("counts what depends on a value")
        elif is_users_frame(sys._getframe(1)):
            for number in answer if isinstance(answer, tuple) else (answer,):
                reads.note_size(int(number))
        return answer

    return count


def _leaking(method: Callable[..., Any], reads: ValueReads) -> Callable[..., Any]:
    """The same memory as a tensor of its own: what is written into it never reaches a trace."""

    def leak(tensor: Tensor) -> Any:
        if reads.carries((tensor,)) and is_users_frame(sys._getframe(1)):
            reads.note("takes .data of a value", _OUTSIDE)
        return method(tensor)

    return leak


def _starting(method: Callable[..., Any], reads: ValueReads) -> Callable[..., Any]:
    def start(thread: threading.Thread) -> Any:
        if is_users_frame(sys._getframe(1)):
            reads.note("works in another thread, where nobody follows it, with something", _OUTSIDE)
        return method(thread)

    return start


@contextlib.contextmanager
def _replaced(kind: type, name: str, member: Any) -> Iterator[None]:
    inherited = object()
    before = vars(kind).get(name, inherited)
    setattr(kind, name, member)
    try:
        yield
    finally:
        if before is inherited:
            delattr(kind, name)
        else:
            setattr(kind, name, before)


def _written(func: Any, args: Any) -> list[Any]:
    return [
        arg
        for arg, declared in zip(args, func._schema.arguments, strict=False)
        if declared.alias_info is not None and declared.alias_info.is_write
    ]
