"""A module of which some inputs have the same values always."""

from __future__ import annotations

import copy
import functools
import inspect
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from onnxwright.backends import Array
from onnxwright.pytorch.session import to_tensor


def holding(module: nn.Module, values: Mapping[str, Array]) -> nn.Module:
    """Returns a module with the same parts whose `forward` takes these values for inputs, whatever it is given.

    What Python reads of them is thereby known to depend on no input.
    """
    held = copy.copy(module)
    held.forward = _Holding(held, values)
    return held


class _Holding:
    """The `forward` of a module, called with some arguments of its own."""

    def __init__(self, module: nn.Module, values: Mapping[str, Array]):
        own = vars(module).get("forward")
        self._forward = types.MethodType(type(module).forward, module) if own is None else own
        self._signature = inspect.signature(self._forward)
        self._values = values
        functools.update_wrapper(self, self._forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        device = next((value.device for value in bound.arguments.values() if isinstance(value, torch.Tensor)), None)
        given = dict(bound.arguments)
        extra = next((name for name, one in self._signature.parameters.items() if one.kind is one.VAR_KEYWORD), "")
        for name, array in self._values.items():
            place = given if name in self._signature.parameters else given.setdefault(extra, {})
            place[name] = to_tensor(array).to(device)
        bound.arguments = given
        return self._forward(*bound.args, **bound.kwargs)
