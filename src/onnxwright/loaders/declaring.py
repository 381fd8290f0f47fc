"""What a caller says of a module: its inputs by example, and which of their axes vary."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils._pytree import tree_unflatten

from onnxwright import dtypes
from onnxwright.backends import Array
from onnxwright.errors import SignatureError, accepted
from onnxwright.pytorch.fronts import ByPosition
from onnxwright.pytorch.session import to_array
from onnxwright.samples import Tensors
from onnxwright.tasks import INPUT_DIMS

Dims = Mapping[str, Mapping[int, str]]

_DIM_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Called(NamedTuple):
    """A module that takes its inputs by name, and example inputs by these names."""

    module: nn.Module
    example: dict[str, Tensor]


def called(module: nn.Module, example_inputs: Any) -> Called:
    """Names example inputs after the parameters of `forward`; what that takes by position alone gets a front.

    Of `forward(*tensors)`, those without a name are called `tensors_0`, `tensors_1` and so on.

    Raises:
        SignatureError: when an input isn't a tensor or doesn't fit `forward`.
    """
    parameters = _declared_parameters(module)
    if isinstance(example_inputs, (Tensor, np.ndarray)):
        example_inputs = (example_inputs,)
    if isinstance(example_inputs, Mapping):
        named = dict(example_inputs)
    elif isinstance(example_inputs, Sequence):
        named = dict(zip(_places(parameters, len(example_inputs)), example_inputs, strict=True))
    else:
        raise SignatureError(
            f"example inputs: expected a dict of name to tensor, got {type(example_inputs).__name__}. "
            "Pass for example {'x': torch.zeros(2, 16)}."
        )
    named = {name: value for name, value in named.items() if value is not None}
    others = _others(parameters, named)
    _check_against_forward(named, parameters, others)
    unnamed = _unnamed(module, parameters, named, others)
    return Called(ByPosition(module, unnamed) if unnamed else module, named)


def _places(parameters: Mapping[str, inspect.Parameter], count: int) -> list[str]:
    """Names inputs that are given by position."""
    places, rest = _positional(parameters), _named_as(parameters, inspect.Parameter.VAR_POSITIONAL)
    if count > len(places) and rest is None:
        raise SignatureError(f"example inputs: {count} tensors for forward({', '.join(places)}).")
    return [*places, *(f"{rest}_{place}" for place in range(count - len(places)))][:count]


def _others(parameters: Mapping[str, inspect.Parameter], named: Collection[str]) -> list[str]:
    """The inputs that go to a parameter `*tensors`: `tensors_0`, …, or, where that is the only one, any in their order.

    Raises:
        SignatureError: when there are `tensors_1` and no `tensors_0`.
    """
    rest = _named_as(parameters, inspect.Parameter.VAR_POSITIONAL)
    if rest is None:
        return []
    found = [name for name in named if name not in parameters and re.fullmatch(rf"{rest}_\d+", name)]
    if not found and len(parameters) == 1:
        return list(named)
    expected = [f"{rest}_{place}" for place in range(len(found))]
    if set(found) != set(expected):
        raise SignatureError(f"example inputs: expected {', '.join(expected)} for '*{rest}', got {', '.join(found)}.")
    return expected


def _unnamed(
    module: nn.Module, parameters: Mapping[str, inspect.Parameter], named: Collection[str], others: Sequence[str]
) -> Sequence[str]:
    """The inputs that a module takes by position alone, in order.

    Raises:
        SignatureError: when one before them is left out.
    """
    positional = _positional(parameters)
    if others:
        count = len(positional)
    elif isinstance(module, GraphModule) and getattr(module, "_in_spec", None) is not None:
        count = _exported_places(module)
    else:
        count = sum(parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY for name in positional)
    places = [*positional[:count], *others]
    given = [name for name in places if name in named]
    missing = next((name for name, one in zip(places, given, strict=False) if name != one), None)
    if missing is not None:
        raise SignatureError(
            f"example inputs: '{missing}' is left out, and what comes after it goes by position. Add it."
        )
    return given


def _exported_places(module: GraphModule) -> int:
    """How many inputs go by position to what torch.export has made: it tells the structure of `(args, kwargs)`."""
    spec: Any = module._in_spec
    whole = tree_unflatten(range(spec.num_leaves), spec)
    is_known = isinstance(whole, tuple) and len(whole) == 2 and isinstance(whole[0], tuple)
    return len(whole[0]) if is_known else 0


def _positional(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    return [name for name, parameter in parameters.items() if parameter.kind in _POSITIONAL]


def _named_as(parameters: Mapping[str, inspect.Parameter], kind: object) -> str | None:
    """The parameter of a kind of which there is one at most."""
    return next((name for name, parameter in parameters.items() if parameter.kind is kind), None)


def guess_dims(example: Tensors) -> dict[str, dict[int, str]]:
    """Names the dims that nobody named: the usual ones of text inputs, else `batch` for a shared axis 0."""
    known = {
        name: dict(enumerate(INPUT_DIMS[name]))
        for name, array in example.items()
        if name in INPUT_DIMS and array.ndim == len(INPUT_DIMS[name])
    }
    leading = {array.shape[0] for array in example.values() if array.ndim}
    if len(leading) != 1:
        return known
    return {name: known.get(name, {0: "batch"}) for name, array in example.items() if array.ndim}


def arrays(tensors: Mapping[str, Tensor | Array]) -> dict[str, Array]:
    """Returns tensors as numpy has them; arrays are copied."""
    return {name: to_array(value) if isinstance(value, Tensor) else np.array(value) for name, value in tensors.items()}


def checked(dims: Dims, example: Tensors) -> dict[str, dict[int, str]]:
    """Returns which axes of which inputs have which names, counted from the front.

    Raises:
        SignatureError: when there is no such input or axis, or one name stands for two sizes.
    """
    if not isinstance(dims, Mapping):
        raise SignatureError(f"dims: expected {{input: {{axis: name}}}}, got {type(dims).__name__}.")
    named: dict[str, dict[int, str]] = {}
    sizes: dict[str, tuple[int, str]] = {}
    for name, axes in dims.items():
        if name not in example:
            raise SignatureError(f"dims: '{name}' is not an input; expected {accepted(str(name), example)}.")
        named[name] = _named_axes(name, axes, example[name].ndim)
        for axis, dim in named[name].items():
            size = example[name].shape[axis]
            other_size, other = sizes.setdefault(dim, (size, name))
            if other_size != size:
                raise SignatureError(
                    f"dim '{dim}': is {other_size} in '{other}' and {size} in '{name}'. "
                    "Give the two axes names of their own, or examples of one size."
                )
    return named


def _named_axes(name: str, axes: Any, count: int) -> dict[int, str]:
    if not isinstance(axes, Mapping):
        raise SignatureError(f"dims of '{name}': expected {{axis: name}}, got {axes!r}.")
    named: dict[int, str] = {}
    for axis, dim in axes.items():
        if not isinstance(axis, int) or not -count <= axis < count:
            raise SignatureError(f"dims of '{name}': there is no axis {axis!r}; the input has {count} axes.")
        if not isinstance(dim, str) or not _DIM_NAME.fullmatch(dim):
            raise SignatureError(
                f"dims of '{name}': axis {axis} can't be called {dim!r}; expected letters, digits and underscores."
            )
        if named.setdefault(axis % count, dim) != dim:
            raise SignatureError(f"dims of '{name}': axis {axis} is called both '{named[axis % count]}' and '{dim}'.")
    return named


def _declared_parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    """The parameters of `forward`; a module that was traced or compiled has them in a schema."""
    if not isinstance(module, torch.jit.ScriptModule):
        return dict(inspect.signature(module.forward).parameters)
    forward: Any = module.forward
    _, *arguments = forward.schema.arguments
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {
        one.name: inspect.Parameter(
            one.name, kind, default=one.default_value if one.has_default_value() else inspect.Parameter.empty
        )
        for one in arguments
    }


def _check_against_forward(
    named: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter], others: Collection[str]
) -> None:
    for name, value in named.items():
        _check_tensor(name, value)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in named:
        if name not in parameters and name not in others and not takes_any:
            raise SignatureError(
                f"example input '{name}': forward has no such argument; expected {accepted(name, parameters)}."
            )
    for name, parameter in parameters.items():
        is_needed = parameter.default is parameter.empty and parameter.kind in (*_POSITIONAL, parameter.KEYWORD_ONLY)
        if is_needed and name not in named:
            raise SignatureError(
                f"example inputs: forward needs '{name}', got {', '.join(named) or 'nothing'}. Add it."
            )
    if not named:
        raise SignatureError("example inputs: expected at least one tensor, got none.")


def _check_tensor(name: object, value: object) -> None:
    if not isinstance(name, str):
        raise SignatureError(f"example input {name!r}: expected the name of an argument of forward as its key.")
    if not isinstance(value, (Tensor, np.ndarray)):
        raise SignatureError(
            f"example input '{name}': expected a tensor, got {type(value).__name__}. "
            "Wrap a number with torch.tensor(...), or fix it with a module that calls this one."
        )
    dtype = dtypes.from_torch(value.dtype) if isinstance(value, Tensor) else value.dtype.name
    if not dtypes.is_known(dtype) or (isinstance(value, Tensor) and value.layout != torch.strided):
        kind = f"{value.layout} {dtype}" if isinstance(value, Tensor) else dtype
        raise SignatureError(
            f"example input '{name}': expected a dense tensor of numbers or bools, got {kind}. Convert it."
        )
    if 0 in value.shape:
        raise SignatureError(
            f"example input '{name}': has no elements (shape {list(value.shape)}). Give an example of a usual size."
        )
