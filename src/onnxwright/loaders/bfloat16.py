"""Modules in bfloat16, taken in float32: numpy has no such type, and engines on a CPU have hardly an operator for it.

The numbers of the weights stay what they are. What the module rounds to 8 bits after each step isn't rounded any more:
how far its own answer lies from that is measured, and told.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from onnxwright import tolerance
from onnxwright.backends import Array, Tensors
from onnxwright.dtypes import is_float
from onnxwright.environment import cores
from onnxwright.errors import ForwardError, SourceError
from onnxwright.findings import Finding
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.signature import Signature, TensorSpec

_NARROW: Final = torch.bfloat16
_MOST_APART: Final = 0.15
"""Answers that lie farther apart (root of the mean square, relative) differ by more than rounding."""


class Widened(NamedTuple):
    """A module with its example inputs, and what is to be said of that."""

    module: nn.Module
    example: dict[str, Array]
    findings: tuple[Finding, ...] = ()


def in_float32(module: nn.Module, example: dict[str, Array]) -> Widened:
    """Returns a copy of a module, with its example inputs, that has float32 wherever the module has bfloat16.

    The module itself is returned where it has none, where it only keeps weights in it, and where in float32 it does
    something else, as where its code names the type: then it computes in bfloat16 inside, and what it answers in
    bfloat16 is handed out as float32.

    Raises:
        SourceError: when inputs in bfloat16 can't be taken in float32.
    """
    given = [name for name, array in example.items() if array.dtype.name == "bfloat16"]
    if not given and not any(weight.dtype is _NARROW for weight in _tensors(module)):
        return Widened(module, example)
    taken = {name: array.astype(np.float32) if name in given else array for name, array in example.items()}
    try:
        apart = _distance(_answer(module, example), _answer(wide := _wide(module), taken))
    except (ForwardError, TypeError, RuntimeError) as problem:  # the last two, of what can't be copied
        return _as_it_is(module, example, given, " ".join(str(problem).split()).rstrip("."))
    if apart > _MOST_APART:
        return _as_it_is(module, example, given, f"on the example, its answer is off by {apart:.1e} then")
    if not apart and not given:
        return Widened(module, example)
    message = f"In bfloat16, the module's own answer lies {apart:.1e} from that in float32 on the example (RMS)."
    return Widened(wide, taken, (Finding("bfloat16-widened", message),))


def _as_it_is(module: nn.Module, example: dict[str, Array], given: list[str], why: str) -> Widened:
    if given:
        raise SourceError(
            f"input '{given[0]}': is in bfloat16, which numpy lacks, and in float32 the module does something else: "
            f"{why}. Cast its inputs inside the module, and give examples in float32."
        )
    return Widened(module, example)


def _wide(module: nn.Module) -> nn.Module:
    """A copy in which whatever names or has the type has float32; it shares the other weights."""
    made: dict[int, Any] = {id(one): _widened(one) if one.dtype is _NARROW else one for one in _tensors(module)}
    with torch.no_grad():
        return copy.deepcopy(module, made | {id(_NARROW): torch.float32})


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    held = (value for one in module.modules() for value in vars(one).values() if isinstance(value, Tensor))
    return itertools.chain(module.parameters(), module.buffers(), held)


def _widened(tensor: Tensor) -> Tensor:
    wide = tensor.detach().float()
    return nn.Parameter(wide, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else wide


def _answer(module: nn.Module, example: Tensors) -> Tensors:
    """What a module answers; its first state is put back."""
    session = PyTorchSession(
        module, Signature(tuple(TensorSpec(name, "", ()) for name in example), ()), threads=cores()
    )
    try:
        return session.run(example)
    finally:
        session.restore()


def _distance(expected: Tensors, answered: Tensors) -> float:
    if expected.keys() != answered.keys():
        raise ForwardError("its outputs have other names then")
    floats = [name for name, array in expected.items() if is_float(array.dtype.name)]
    same = [tolerance.overall_distance(expected[name], answered[name]) for name in floats]
    return max(same, default=0.0)
