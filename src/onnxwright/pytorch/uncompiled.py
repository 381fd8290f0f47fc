"""What `torch.compile` has wrapped, as it was written: the same numbers, and code that can be followed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import nn

from onnxwright.pytorch.control_flow import in_python

_COMPILE: Final = torch.compile


def as_module(source: Any) -> Any:
    """Returns the module of what `torch.export` or `torch.compile` has made; another source as it is."""
    return as_written(source.module() if isinstance(source, torch.export.ExportedProgram) else source)


def as_written(module: nn.Module) -> nn.Module:
    """Returns what `torch.compile` was given, for a module that came of it."""
    own = getattr(module, "_orig_mod", None)
    return own if isinstance(own, nn.Module) else module


@contextlib.contextmanager
def parts_as_written(module: nn.Module | None) -> Iterator[None]:
    """Has the parts of a module that are compiled be as they were written while entered, and functions too."""
    parents = list(module.modules()) if module is not None else []
    compiled = [
        (parent, name, part)
        for parent in parents
        for name, part in parent._modules.items()
        if part is not None and as_written(part) is not part
    ]
    for parent, name, part in compiled:
        parent._modules[name] = as_written(part)
    try:
        with functions_as_written():
            yield
    finally:
        for parent, name, part in compiled:
            parent._modules[name] = part


@contextlib.contextmanager
def functions_as_written(*, is_asked: bool = True) -> Iterator[None]:
    """Has functions run as they are written that are compiled, or would be while entered; or has them compiled again.

    Operators of control flow (`torch.cond`) and FlexAttention compile what they are given at each call.
    """
    before = torch.compile
    with contextlib.ExitStack() as entered:
        entered.enter_context(in_python(is_asked=is_asked))
        if "torch._dynamo" in sys.modules:  # else nothing was compiled; it takes seconds to load
            entered.enter_context(torch.compiler.set_stance("force_eager" if is_asked else "default"))
        try:
            torch.compile = _left if is_asked else _COMPILE
            yield
        finally:
            torch.compile = before


def _left(model: Callable[..., Any] | None = None, **_: Any) -> Any:
    """Takes the place of `torch.compile`, which is a decorator too."""
    return model if model is not None else lambda function: function
