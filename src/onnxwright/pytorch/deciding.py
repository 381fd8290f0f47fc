"""The truth values that Python takes of tensors while a module runs, and other ones in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from onnxwright.errors import RouteError
from onnxwright.pytorch.lines import Line, user_line
from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, flatten, tolerated
from onnxwright.pytorch.reads import ValueReads
from onnxwright.pytorch.replacing import without_reading

_Truth = Callable[[Tensor], bool]
_OF_SHAPES = {f"aten::{name}" for name in ("size", "sym_size", "numel", "sym_numel", "len", "dim", "stride")}
"""What the tracer notes where the shape of a tensor is asked for, and none of its values."""


def decisions(module: nn.Module, sample: Mapping[str, Tensor]) -> tuple[bool, ...]:
    """Returns the truth values that Python takes of what comes from the inputs, in order, for a sample.

    Of a module that refuses the sample, as many as it came to.
    """
    reads, taken = ValueReads(), list[bool]()
    reads.mark(sample.values())
    function = TensorFunction(module, tuple(sample))

    def noting(own: _Truth) -> _Truth:
        def truth(tensor: Tensor) -> bool:
            answer = own(tensor)
            if reads.carries((tensor,)):
                taken.append(answer)
            return answer

        return truth

    with Pristine(module), evaluation(module), torch.no_grad(), tolerated(), reads, _truths(noting):
        function(*sample.values())
    return tuple(taken)


class Decided:
    """A module of which Python is told beforehand, in order, what is true: what it asked comes out of a trace too.

    `asked` are the lines at which it asked in the last trace, and `names` what its questions are called among the
    outputs.
    """

    def __init__(self, answers: Sequence[bool], names: Sequence[str]) -> None:
        self.answers, self.names = tuple(answers), tuple(names)
        self.asked: list[Line] = []
        self._questions: list[Tensor] = []

    @contextlib.contextmanager
    def tracing(self, module: nn.Module) -> Iterator[None]:
        """Has traces of a module be decided so while entered.

        Raises:
            RouteError: when a trace asks for more than there is an answer to.
        """
        hooks = [module.register_forward_pre_hook(self._begin), module.register_forward_hook(self._end)]
        try:
            with _truths(self._answering):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self, *_: object) -> None:
        self._questions.clear()
        self.asked.clear()

    def _end(self, *call: object) -> dict[str, Tensor] | None:
        """The outputs of a call with what was asked beside them; as they are, where nothing was."""
        if not self._questions:
            return None
        questions = [one.reshape(()).to(torch.bool) for one in self._questions]
        return {**flatten(call[-1]), **dict(zip(self.names, questions, strict=False))}

    def _answering(self, own: _Truth) -> _Truth:
        def truth(tensor: Tensor) -> bool:
            if not _is_answered(tensor):
                return own(tensor)
            if len(self._questions) == len(self.answers):
                raise RouteError(f"Python decides more by values at {user_line()} than it does outside of a trace.")
            self._questions.append(tensor)
            self.asked.append(user_line())
            return self.answers[len(self._questions) - 1]

        return without_reading(truth, _is_answered)


@contextlib.contextmanager
def _truths(made: Callable[[_Truth], _Truth]) -> Iterator[None]:
    with mock.patch.object(Tensor, "__bool__", made(Tensor.__bool__)):
        yield


def _is_answered(tensor: Tensor) -> bool:
    """Whether a module is traced, and a tensor computed from values that the trace is given, not from sizes alone."""
    if torch._C._get_tracing_state() is None:
        return False
    waiting: list[Any] = [torch._C._get_value_trace(tensor)]  # type: ignore[attr-defined]  # torch's stubs lack it
    seen = set[int]()
    while waiting:
        value = waiting.pop()
        node = value.node()
        if node.kind() == "prim::Param":
            return True
        if value.unique() not in seen and node.kind() not in _OF_SHAPES:
            waiting += node.inputs()
        seen.add(value.unique())
    return False
