"""PyTorch's operators of control flow run as Python's own `if`, `while` and `for`, so that all in them is seen.

What a loop carries is nested as its function answers it, as it is where PyTorch compiles the loop.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch._guards import detect_fake_mode
from torch._higher_order_ops.cond import CondOp
from torch._higher_order_ops.scan import ScanOp
from torch._higher_order_ops.while_loop import WhileLoopOp
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from onnxwright.pytorch.replacing import in_class


@contextlib.contextmanager
def in_python(*, is_asked: bool = True) -> Iterator[None]:
    """Has them run so while entered, where values are known; or as they are again."""
    with contextlib.ExitStack() as entered:
        for kind, (own, instead) in _CALLS.items():
            entered.enter_context(in_class(kind, "__call__", instead if is_asked else own))
        yield


def _instead(own: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def call(operator: Any, *args: Any, **kwargs: Any) -> Any:
        is_known = not torch.jit.is_tracing() and detect_fake_mode(args) is None  # type: ignore[attr-defined, no-untyped-call]  # torch's
        return plain(*args, **kwargs) if is_known else own(operator, *args, **kwargs)

    return call


def _branch(is_true: Any, one: Callable[..., Any], other: Callable[..., Any], operands: Sequence[Any]) -> Any:
    return (one if is_true else other)(*operands)


def _loop(
    is_going: Callable[..., Any], rounds: Callable[..., Any], carried: Sequence[Any], others: Sequence[Any]
) -> Any:
    values: Any = tuple(carried)
    while is_going(*tree_leaves(values), *others):
        values = rounds(*tree_leaves(values), *others)
    return values


def _scan(
    combine: Callable[..., Any], carried: Sequence[Tensor], rows: Sequence[Tensor], additional_inputs: Sequence[Any]
) -> Any:
    values, nested = list[Any](carried), None
    added = []
    for place in range(rows[0].shape[0]):
        made, nested = tree_flatten(combine(*values, *(one[place] for one in rows), *additional_inputs))
        values = made[: len(carried)]
        added.append(made[len(carried) :])
    assert nested is not None, "PyTorch refuses to go over nothing"
    return tree_unflatten([*values, *map(torch.stack, zip(*added, strict=True))], nested)


_PLAIN: Final[Mapping[type, Callable[..., Any]]] = {CondOp: _branch, WhileLoopOp: _loop, ScanOp: _scan}
_CALLS: Final = {kind: (kind.__call__, _instead(kind.__call__, plain)) for kind, plain in _PLAIN.items()}
"""How each is called by itself, and in Python."""
