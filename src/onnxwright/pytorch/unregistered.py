"""Weights that a module keeps where PyTorch doesn't look for them: in plain lists and dicts, or in modules in these."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn


@contextlib.contextmanager
def without_gradients(module: nn.Module) -> Iterator[None]:
    """Has such weights need no gradient while entered: a tracer takes only these for constants."""
    known = {id(parameter) for parameter in module.parameters()}
    needing = [one for one in unregistered(module) if one.requires_grad and one.is_leaf and id(one) not in known]
    for tensor in needing:
        tensor.requires_grad_(False)
    try:
        yield
    finally:
        for tensor in needing:
            tensor.requires_grad_(True)


def unregistered(module: nn.Module) -> Iterator[Tensor]:
    """Yields the tensors in a module's attributes and in containers there, and the weights of modules in these."""
    registered = {id(part) for part in module.modules()}
    waiting = [value for part in module.modules() for name, value in vars(part).items() if name not in _REGISTRIES]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen or id(value) in registered:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, nn.Module):
            yield from value.parameters()
        else:
            waiting += _inside(value)


_REGISTRIES = {"_parameters", "_buffers", "_modules"}


def _inside(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple, set)) else []
