"""Sees what Python reads of the inputs while a module runs: branches on values, `.item()`, `.tolist()`, numpy.

A traced graph keeps such a value as it was for the example. Tensors computed from the values of an input are followed
from operator to operator, and so are sizes that depend on values (of what `nonzero` answers, say). Other sizes are
tensors too while a module is traced; where Python makes numbers of them, nobody can follow what it decides with these.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple, Self

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from onnxwright.pytorch import dispatching
from onnxwright.pytorch.dispatching import OperatorMode
from onnxwright.pytorch.lines import Place, Whereabouts, user_line
from onnxwright.pytorch.methods import SCALAR, watched
from onnxwright.pytorch.modules import CompiledPart

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

_TORCH: Final = Path(torch.__file__).parent
_DISPATCHING: Final = frozenset(
    [dispatching.__file__, *(str(_TORCH / one) for one in ("_compile.py", "_dynamo/eval_frame.py"))]
)
"""Files whose frames lie between an operator and what follows it."""
_RECURRENT: Final = str(_TORCH / "nn/modules/rnn.py")


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

    def note(self, what: str, code: str = SCALAR) -> None:
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
        self._entered.enter_context(watched(self))
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


class _Follow(OperatorMode):
    def __init__(self, reads: ValueReads) -> None:
        super().__init__()
        self._reads = reads

    def _operator(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        answer = func(*args, **kwargs)
        if self._reads.is_chance_followed and torch.Tag.nondeterministic_seeded in func.tags:
            self._reads.mark(tree_leaves(answer))
        self._note_counted(func, args, answer)
        given, answered = tree_leaves((args, kwargs)), tree_leaves(answer)
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
        if func._schema.name in _IN_PIECES and not _is_layers_own(sys._getframe(2)):
            self._reads.note_size(len(answer))
        elif func._schema.name == "aten::is_same_size":
            self._reads.note_sizes(args)


def _is_layers_own(frame: FrameType | None) -> bool:
    """Whether a layer of torch runs an operator that takes tensors apart itself (`gru`): Python gets no piece of it."""
    while frame is not None and frame.f_code.co_filename in _DISPATCHING:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename == _RECURRENT


def _is_picking(func: Any, given: Iterable[Any]) -> bool:
    """Whether an operator picks by positions, not by a mask: how many it picks doesn't depend on values then."""
    is_mask = any(isinstance(one, Tensor) and one.dtype in {torch.bool, torch.uint8} for one in list(given)[1:])
    return func._schema.name in {"aten::index", "aten::index_put", "aten::index_put_"} and not is_mask


def _written(func: Any, args: Any) -> list[Any]:
    return [
        arg
        for arg, declared in zip(args, func._schema.arguments, strict=False)
        if declared.alias_info is not None and declared.alias_info.is_write
    ]
