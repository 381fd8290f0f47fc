"""How onnxwright calls a torch module: inputs by name, outputs flat and named, evaluation mode, the same state."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onnxwright.errors import ForwardError

class TensorFunction(nn.Module):
    """A module as a plain function: tensors in the order of `inputs`, a flat tuple of tensors out.

    Nested outputs (tuple, list, mapping, dataclass) are flattened in order; `outputs` picks and orders them by name.
    """

    def __init__(self, module: nn.Module, inputs: Sequence[str], outputs: Sequence[str] | None = None):
        super().__init__()
        self.module = module
        self._inputs = tuple(inputs)
        self._outputs = None if outputs is None else tuple(outputs)
        # Only this module's own flag: the legacy exporter puts all submodules into the mode that it finds here.
        self.training = False

    def answer(self, tensors: Sequence[Tensor]) -> object:
        """Calls the module and returns whatever it answers."""
        return self.module(**dict(zip(self._inputs, tensors, strict=True)))

    def named(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Calls the module and returns its outputs by name."""
        found = flatten(self.answer(tensors))
        if self._outputs is None:
            return found
        missing = [name for name in self._outputs if name not in found]
        if missing:
            raise ForwardError(f"output '{missing[0]}': not answered at these sizes; got {', '.join(found)}.")
        return {name: found[name] for name in self._outputs}

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Calls the module and returns its outputs in order."""
        return tuple(self.named(tensors).values())


def flatten(answer: object) -> dict[str, Tensor]:
    """Names every tensor in a nested answer: `output` for a lone tensor, else by key, field or index.

    Raises:
        ForwardError: when there is no tensor in it, or two get the same name.
    """
    found: dict[str, Tensor] = {}
    for path, leaf in _leaves(answer, ()):
        if not isinstance(leaf, Tensor):
            continue
        name = _name(path)
        if name in found:
            raise ForwardError(f"output '{name}': two outputs have this name. Return them under names of their own.")
        found[name] = leaf
    if not found:
        raise ForwardError(
            f"the module returned a {type(answer).__name__} without any tensor; expected a tensor, or tuples, lists, "
            "mappings or dataclasses of tensors."
        )
    return found


def skipped_outputs(answer: object) -> dict[str, str]:
    """Names the parts of a nested answer that no graph can answer (numbers, strings, objects), with their types."""
    return {
        _name(path): type(leaf).__name__
        for path, leaf in _leaves(answer, ())
        if leaf is not None and not isinstance(leaf, Tensor)
    }


def _name(path: tuple[str, ...]) -> str:
    name = re.sub(r"\W", "_", "_".join(path) if path else "output")
    return f"output_{name}" if name[0].isdigit() else name


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    parts = None if isinstance(value, Tensor) else _parts(value)
    if parts is None:
        yield path, value
        return
    for key, part in parts:
        yield from _leaves(part, (*path, key))


def _parts(value: object) -> list[tuple[str, object]] | None:
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return [(str(index), part) for index, part in enumerate(value)]
    return None


@contextlib.contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Puts every submodule into evaluation mode, and back into the mode it came in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, is_training in modes:
            part.training = is_training


class Pristine:
    """The state of a module as it was at first: attributes, containers and buffers, put back on demand."""

    def __init__(self, module: nn.Module):
        self._saved = [(name, part, _copied(part.__dict__)) for name, part in module.named_modules()]
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
        self._versions = [(name, parameter, parameter._version) for name, parameter in module.named_parameters()]

    def restore(self) -> None:
        """Undoes what calls have left behind in attributes, containers and buffers."""
        for _, part, saved in self._saved:
            part.__dict__.clear()
            part.__dict__.update(_copied(saved))
        with torch.no_grad():
            for buffer, value in self._buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)

    def changes(self) -> list[str]:
        """Names the attributes, buffers and parameters that calls have changed since."""
        changed = []
        for name, part, saved in self._saved:
            now = part.__dict__
            keys = [key for key in {**saved, **now} if not _is_same(saved.get(key), now.get(key))]
            changed += [".".join(filter(None, (name, key))) for key in keys]
        changed += [name for name, parameter, version in self._versions if parameter._version != version]
        return changed


def _copied(value: Any) -> Any:
    if type(value) in (dict, list, set):
        kind = type(value)
        return kind(
            {key: _copied(part) for key, part in value.items()} if kind is dict else [_copied(part) for part in value]
        )
    return copy.copy(value) if type(value).__name__ == "OrderedDict" else value


def _is_same(left: Any, right: Any) -> bool:
    if isinstance(left, (dict, list, tuple, set)) and type(left) is type(right):
        if len(left) != len(right):
            return False
        if isinstance(left, dict):
            return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
        if isinstance(left, set):
            return bool(left == right)
        return all(_is_same(*pair) for pair in zip(left, right, strict=True))
    if isinstance(left, (int, float, str, bool)):
        return type(left) is type(right) and left == right
    return left is right
