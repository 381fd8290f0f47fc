"""Modules in bfloat16, taken in float32: numpy has no such type, and engines on a CPU have hardly an operator for it.

The numbers of the weights stay what they are. What the module rounds to 8 bits after each step isn't rounded any more:
that nothing else has changed is seen by the module itself without rounding, in float64.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from onnxwright import tolerance
from onnxwright.backends import Array, Tensors
from onnxwright.environment import cores
from onnxwright.errors import ForwardError, SourceError
from onnxwright.findings import Finding
from onnxwright.pytorch.devices import copied, like
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.pytorch.unregistered import unregistered
from onnxwright.pytorch.widened import Widening
from onnxwright.signature import Signature, TensorSpec

_NARROW: Final = torch.bfloat16
_MOST_APART: Final = 1e-3
"""The copy answers as the module does without rounding: the root of the mean square of the errors, relative."""
_MOST_ROUNDED: Final = 0.15
"""Where PyTorch can't compute without rounding, the same of the answers with it."""
_UNCOPIED: Final = (TypeError, RuntimeError, AttributeError, copy.Error, pickle.PicklingError)


class InFloat32(NamedTuple):
    """A module with its example inputs, and what is to be said of that."""

    module: nn.Module
    example: dict[str, Array]
    findings: tuple[Finding, ...] = ()


def in_float32(module: nn.Module, example: dict[str, Array]) -> InFloat32:
    """Returns a copy of a module, with its example inputs, that has float32 wherever the module has bfloat16.

    The module itself is returned where it has none, where it only keeps weights in it, and where in float32 it does
    something else, as where its code names the type: then it computes in bfloat16 inside, and what it answers in
    bfloat16 is handed out as float32.

    Raises:
        SourceError: when inputs in bfloat16 can't be taken in float32.
    """
    given = [name for name, array in example.items() if array.dtype.name == "bfloat16"]
    if not given and not any(weight.dtype is _NARROW for weight in _tensors(module)):
        return InFloat32(module, example)
    taken = {name: array.astype(np.float32) if name in given else array for name, array in example.items()}
    try:
        wide = _wide(module)
        answered = _session(wide, taken).run(taken)
        told = _compared(_session(module, example), example, answered)
    except (ForwardError, *_UNCOPIED) as problem:
        if given:
            raise SourceError(
                f"input '{given[0]}': is in bfloat16, which numpy lacks, and the module can't be taken in float32: "
                f"{' '.join(str(problem).split()).rstrip('.')}. Cast its inputs inside the module, and give examples "
                "in float32."
            ) from problem
        return InFloat32(module, example)
    if told is None and not given:
        return InFloat32(module, example)
    return InFloat32(wide, taken, (Finding("bfloat16-widened", told or "Nothing is rounded on the example."),))


def _compared(session: PyTorchSession, example: Tensors, answered: Tensors) -> str | None:
    """Says how far a module's own answer lies from that of its copy; nothing where they are equal.

    Raises:
        ForwardError: when the copy computes something else.
    """
    try:
        own = session.run(example)
    except ForwardError as problem:
        return f"The module itself can't be run in bfloat16 on a CPU: {problem}"
    finally:
        session.restore()
    rounded = _distance(own, answered)
    if not rounded:
        return None
    apart, most = rounded, _MOST_ROUNDED
    mode = Widening()
    try:
        unrounded = session.run_widened(example, mode)
        if not mode.narrow:
            apart, most = (
                _distance({name: one.astype(own[name].dtype) for name, one in unrounded.items()}, answered),
                _MOST_APART,
            )
    except ForwardError:
        pass  # it can't be computed in float64
    if apart > most:
        raise ForwardError(f"on the example, it answers something else then, off by {apart:.1e}")
    return f"In bfloat16, the module's own answer lies {rounded:.1e} from that in float32 on the example (RMS)."


def _wide(module: nn.Module) -> nn.Module:
    """A copy in which whatever names or has the type has float32; it shares the other weights."""
    made = {id(one): like(one, one.detach().float()) if one.dtype is _NARROW else one for one in _tensors(module)}
    return copied(module, {**made, id(_NARROW): torch.float32})


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
    yield from unregistered(module)


def _session(module: nn.Module, example: Mapping[str, Any]) -> PyTorchSession:
    inputs = tuple(TensorSpec(name, "", ()) for name in example)
    return PyTorchSession(module, Signature(inputs, ()), threads=cores())


def _distance(expected: Tensors, answered: Tensors) -> float:
    if expected.keys() != answered.keys():
        raise ForwardError("its outputs have other names then")
    return max(tolerance.overall_distance(array, answered[name]) for name, array in expected.items())
