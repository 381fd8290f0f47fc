"""What PyTorch computes on its way to an answer: the result of each torch function that a user's line calls.

Modules are followed by hooks, functions by a mode that sees the outermost call only, so that a step is what the user
wrote and not what torch makes of it. What runs where neither looks (compiled code) is one step: the module's answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from onnxwright.backends import Array
from onnxwright.dtypes import from_torch
from onnxwright.graph.provenance import Provenance
from onnxwright.pytorch.lines import user_line
from onnxwright.pytorch.modules import flatten
from onnxwright.pytorch.session import to_array
from onnxwright.pytorch.widened import unwrapped

_INPUT = -1
_SHAPE_ONLY = {
    *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
    *("new_zeros", "new_ones", "new_empty", "new_full", "size", "dim", "numel"),
}
"""Functions that look at no value of a tensor."""


class Step(NamedTuple):
    """One result: where it was computed, what it is, and the numbers of the steps that it was computed from.

    `is_live` says that it was computed from values of an input, `is_news` that it isn't an argument moved or renamed.
    """

    place: Provenance
    shape: tuple[int, ...]
    dtype: str
    size: int
    sources: frozenset[int] = frozenset()
    is_live: bool = True
    is_news: bool = True


class Recording:
    """Collects the steps of one call of a module while it is entered; `wanted` are those whose values are kept."""

    def __init__(self, module: nn.Module, wanted: range = range(0)) -> None:
        self.steps: list[Step] = []
        self.values: dict[int, Array] = {}
        self.outputs: dict[str, int] = {}
        """The step that computes each output, where it was seen."""
        self.lines: set[str] = set()
        """Each line that calls torch, also where no tensor comes of it."""
        self._wanted = wanted
        self._root = module
        self._paths = {id(part): path for path, part in module.named_modules()}
        self._constants = {id(one) for one in (*module.parameters(), *module.buffers())}
        self._running: list[str] = []
        self._numbers: Any = WeakIdKeyDictionary()
        self._entered = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for handle in (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ):
            self._entered.callback(handle.remove)
        self._entered.enter_context(_Calls(self))
        return self

    def __exit__(self, *problem: object) -> None:
        self._entered.close()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Calls a torch function and takes in what it answers."""
        if not self._running:
            return function(*args, **kwargs)
        place = Provenance(self._running[-1], str(line) if (line := user_line()).is_users else None)
        self.lines.add(str(place.where))
        given = [leaf for leaf in tree_leaves((args, dict(kwargs))) if isinstance(leaf, Tensor)]
        sources = self._sources(given) if getattr(function, "__name__", "") not in _SHAPE_ONLY else frozenset()
        answer = function(*args, **kwargs)
        written = args[:1] if getattr(function, "__name__", "") == "__setitem__" else answer
        for result in tree_leaves(written):
            if _is_plain(result):
                self._take(result, place, sources, is_news=not any(_is_moved(result, one) for one in given))
        return answer

    def _enter(self, module: nn.Module, given: Any) -> None:  # noqa: ARG002 - torch's signature
        if module is self._root and not self._running:
            self._running.append("")
        elif self._running:
            self._running.append(self._paths.get(id(module), self._running[-1]))

    def _leave(self, module: nn.Module, args: Any, *others: Any) -> None:
        *kwargs, answer = others  # torch leaves the keywords out when the module has raised
        if not self._running:
            return
        path = self._running.pop()
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = {id(one) for one in given}
        sources = self._sources(given)
        for result in tree_leaves(answer):
            if _is_plain(result) and id(result) not in known and result not in self._numbers:
                self._take(result, Provenance(path, None), sources)
        if module is self._root and not self._running and answer is not None:
            named = flatten(answer).items()
            self.outputs = {name: self._numbers[tensor] for name, tensor in named if tensor in self._numbers}

    def _sources(self, given: Iterable[Any]) -> frozenset[int]:
        """The steps of these tensors. What comes from nowhere counts as an input, but for weights and buffers."""
        return frozenset(
            self._numbers.get(one, _INPUT) for one in given if _is_plain(one) and id(one) not in self._constants
        )

    def _take(self, result: Tensor, place: Provenance, sources: frozenset[int], *, is_news: bool = True) -> None:
        number = len(self.steps)
        is_live = any(source == _INPUT or self.steps[source].is_live for source in sources)
        size = result.numel() * result.element_size()
        known = sources - {_INPUT}
        step = Step(place, tuple(result.shape), from_torch(result.dtype), size, known, is_live, is_news)
        self.steps.append(step)
        self._numbers[result] = number
        if number in self._wanted:
            self.values[number] = to_array(unwrapped(result))


class _Calls(TorchFunctionMode):
    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return self._recording.call(func, args, kwargs or {})


def _is_plain(value: Any) -> bool:
    """Whether this is a tensor with numbers of its own; those inside `vmap` aren't."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not value.is_meta
        and not value.is_quantized
        and not torch._C._functorch.is_functorch_wrapped_tensor(value)
    )


def _is_moved(result: Tensor, given: Tensor) -> bool:
    """Whether a result holds just the numbers of an argument: cast, transposed or shaped otherwise."""
    if not _is_plain(given) or given.numel() != result.numel():
        return False
    if given.shape == result.shape:
        return torch.equal(given.to(result.dtype), result)
    return unwrapped(given).data_ptr() == unwrapped(result).data_ptr()
