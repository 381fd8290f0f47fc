"""Modules that `torch.compile` has wrapped, as they were: the same numbers, and code that exporters can follow."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Final

from torch import nn
from torch.nn.attention import flex_attention

from onnxwright.pytorch.modules import setting

_PLAIN: Final = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"
"""Has FlexAttention, which compiles itself at each call, compute the same as it is written."""


def as_written(module: nn.Module) -> nn.Module:
    """Returns what `torch.compile` was given, for a module that came of it."""
    own = getattr(module, "_orig_mod", None)
    return own if isinstance(own, nn.Module) else module


@contextlib.contextmanager
def parts_as_written(module: nn.Module | None) -> Iterator[None]:
    """Has the parts of a module that are compiled, and FlexAttention, be as they were written while entered."""
    parents = list(module.modules()) if module is not None else []
    compiled = [
        (parent, name, part)
        for parent in parents
        for name, part in parent._modules.items()
        if part is not None and as_written(part) is not part
    ]
    for parent, name, part in compiled:
        parent._modules[name] = as_written(part)
    plain = setting(functools.partial(setattr, flex_attention, _PLAIN), True, getattr(flex_attention, _PLAIN, False))
    try:
        with plain:
            yield
    finally:
        for parent, name, part in compiled:
            parent._modules[name] = part
