"""The methods by which Python reads a tensor, or takes its sizes as numbers, watched while a module runs."""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from onnxwright.pytorch.lines import is_users_frame
from onnxwright.pytorch.modules import CompiledPart
from onnxwright.pytorch.replacing import in_class, unread_by

if TYPE_CHECKING:
    from onnxwright.pytorch.reads import ValueReads

_BRANCH: Final = "value-branch-frozen"
SCALAR: Final = "scalar-from-tensor"
_OUTSIDE: Final = "numpy-outside-graph"

_READERS: Final = {
    "__bool__": (_BRANCH, "branches on a value"),
    "__int__": (SCALAR, "makes an int of a value"),
    "__float__": (SCALAR, "makes a float of a value"),
    "__complex__": (SCALAR, "makes a complex number of a value"),
    "__index__": (SCALAR, "counts with a value"),
    "item": (SCALAR, "reads a value with .item()"),
    "tolist": (SCALAR, "reads a value with .tolist()"),
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
_NUMBERS: Final = (
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
_COUNTS: Final = ("__len__", "stride", "storage_offset")
"""The methods that answer a plain number of a tensor's shape also while it is traced."""


@contextlib.contextmanager
def watched(reads: ValueReads) -> Iterator[None]:
    """Wraps the methods by which Python reads a tensor.

    A `TorchFunctionMode` would see them too, but it puts a frame of its own between the user's line and each
    operator, and TorchScript writes that frame into the graph as where the operator comes from.
    """
    with contextlib.ExitStack() as stack:
        for name, (code, what) in _READERS.items():
            stack.enter_context(in_class(Tensor, name, _noting(getattr(Tensor, name), reads, what, code)))
        for name in _NUMBERS:
            stack.enter_context(in_class(Tensor, name, _numbering(getattr(Tensor, name), reads)))
        stack.enter_context(in_class(Tensor, "__bool__", _asking(Tensor.__bool__, reads)))
        stack.enter_context(in_class(Tensor, "__hash__", _hashing(Tensor.__hash__, reads)))
        for name in _COUNTS:
            stack.enter_context(in_class(Tensor, name, _counting(getattr(Tensor, name), reads)))
        for name in ("size", "numel"):
            stack.enter_context(in_class(Tensor, name, _measuring(getattr(Tensor, name), reads)))
        for name, describe in (("shape", _measuring), ("data", _leaking), ("nbytes", _counting)):
            described = getattr(Tensor, name)
            stack.enter_context(in_class(Tensor, name, property(describe(described.__get__, reads), described.__set__)))
        stack.enter_context(in_class(threading.Thread, "start", _starting(threading.Thread.start, reads)))
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
