"""What branches and loops hand on: values of one structure, their tensors to an operator, the rest as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch
from torch import SymBool, SymFloat, SymInt, Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true


class ControlFlowError(Exception):
    """The two sides of a branch, or the rounds of a loop, can't be handed on by one operator."""


class Undefined:
    """What a name holds that was not set on the way."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = Undefined()
Values = tuple[Any, ...]


class Prepended(list[Any]):
    """A list that a round has put elements in front of."""


class Stacked:
    """A list with one element, or several, for each round of a loop: its elements stand in one tensor."""

    def __init__(self, before: Sequence[Tensor], rounds: Tensor):
        self.before = tuple(before)
        self.rounds = rounds
        """One element each along the first axis."""

    @property
    def whole(self) -> Tensor:
        """All elements, along the first axis."""
        return torch.cat([torch.stack(self.before), self.rounds]) if self.before else self.rounds

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self.whole[index]
        is_reversed = index == slice(None, None, -1)
        return Stacked((), self.whole.flip(0) if is_reversed else self.whole[index])

    def __add__(self, more: Any) -> Stacked:
        if not more:
            return self
        added = more.whole if isinstance(more, Stacked) else torch.stack(list(more))
        return Stacked((), torch.cat([self.whole, added]))

    def copy(self) -> Stacked:
        """Returns a list of its own."""
        return Stacked(self.before, self.rounds)

    def reverse(self) -> None:
        """Turns the order round."""
        self._become(self[::-1])

    def append(self, one: Tensor) -> None:
        """Adds an element at the end."""
        self.extend([one])

    def extend(self, more: Any) -> None:
        """Adds elements at the end."""
        self._become(self + more)

    def _become(self, other: Stacked) -> None:
        self.before, self.rounds = other.before, other.rounds


@dataclasses.dataclass
class Several:
    """What a loop goes through, round by round: along the first axis of some tensors."""

    tensors: tuple[Tensor, ...]
    item: Callable[..., Any]
    """Makes what Python would get of the tensors' elements."""

    def __getitem__(self, index: slice) -> Several:
        """What a slice leaves of it; all of it backwards, for `[::-1]`."""
        if index == slice(None, None, -1):
            return Several(tuple(one.flip(0) for one in self.tensors), self.item)
        return Several(tuple(one[index] for one in self.tensors), self.item)


def shaped(answer: Tensor, one: Any, other: Any) -> Tensor:
    """What a branch gives, with the sizes told in which its sides agree; what was not set has those of the other."""
    one, other = (other if one is UNDEFINED else one), (one if other is UNDEFINED else other)
    if not (isinstance(one, Tensor) and isinstance(other, Tensor) and one.dim() == other.dim()):
        return answer
    for axis, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)):
        if statically_known_true(a == b):
            torch._check(answer.shape[axis] == a)
    return answer


def is_number(value: Any) -> bool:
    """Whether a value is a number of Python, or a size that stands for one."""
    return isinstance(value, (bool, int, float, SymInt, SymFloat, SymBool))


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are one, whichever way is taken."""
    if one is other:
        return True
    if isinstance(one, Tensor) or isinstance(other, Tensor) or type(one) is not type(other):
        return False
    if isinstance(one, (SymInt, SymFloat, SymBool)):
        return bool(one.node.expr == other.node.expr)
    if is_number(one):  # dynamo shows sizes as numbers
        return statically_known_true(one == other)
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - the user's own classes compare as they like
        return False


def kind_of(one: Any, other: Any, line: int) -> Any:
    """The dtype in which an operator hands on what differs, and whether Python gets a number of it."""
    tensors = [value for value in (one, other) if isinstance(value, Tensor)]
    if tensors:
        if len({value.dtype for value in tensors}) > 1:
            raise ControlFlowError(f"line {line}: the sides give tensors of different types")
        return tensors[0].dtype, False
    numbers = [value for value in (one, other) if is_number(value)]
    if any(isinstance(value, (float, SymFloat)) for value in numbers):
        return torch.float64, False
    if numbers and all(isinstance(value, (bool, SymBool)) for value in numbers):
        return torch.bool, False
    return torch.int64, True


def as_tensor(value: Any, kind: Any, other: Any) -> Tensor:
    """A value as an operator hands it on; what was not set, as zeros like the other side's."""
    dtype, _ = kind
    if isinstance(value, Tensor):
        return value.to(dtype).clone(memory_format=torch.contiguous_format)
    if value is UNDEFINED or value is None:
        shape = other.shape if isinstance(other, Tensor) else ()  # not of what a loop of no rounds can't compute
        return torch.zeros(shape, dtype=dtype)
    return torch.full((), value, dtype=dtype)


def as_python(tensor: Tensor, kind: Any) -> Any:
    """What Python gets of a tensor that an operator handed on."""
    _, is_size = kind
    return tensor.item() if is_size else tensor


def joined(one: Any, other: Any, leaves: list[tuple[Any, Any]], line: int, lacking: list[int] | None = None) -> Any:
    """Flattens two values of one structure into pairs, and returns how to build one of it.

    Where one is None and the other a tensor, the tensor stands for both if it may be noted which of them lacks it.
    """

    def parts_of(some: Iterable[Any], others: Iterable[Any]) -> list[Any]:
        return [joined(a, b, leaves, line, lacking) for a, b in zip(some, others, strict=True)]

    match one, other:
        case Stacked(), Stacked() if len(one.before) == len(other.before):
            rounds = joined(one.rounds, other.rounds, leaves, line, lacking)
            return "stacked", parts_of(one.before, other.before), rounds
        case ((tuple() | list()), (tuple() | list())) if type(one) is type(other) and len(one) == len(other):
            return "sequence", type(one), parts_of(one, other)
        case dict(), dict() if type(one) is type(other) and list(one) == list(other):
            return "dict", type(one), list(one), parts_of(one.values(), other.values())
        case _ if type(one) is type(other) and dataclasses.is_dataclass(one) and not isinstance(one, type):
            names = [field.name for field in dataclasses.fields(one)]
            fields = [[getattr(value, name) for name in names] for value in (one, other)]
            return "data", type(one), names, parts_of(*fields)
        case (None, Tensor()) | (Tensor(), None) if lacking is not None:
            lacking.append(0 if one is None else 1)
            one = other = other if one is None else one
    if not _can_join(one, other):
        one = other = UNDEFINED  # whoever reads it is told
    leaves.append((one, other))
    return "leaf", len(leaves) - 1


def _can_join(one: Any, other: Any) -> bool:
    if is_same(one, other):
        return True
    sides = [value for value in (one, other) if value is not UNDEFINED]
    return all(isinstance(value, Tensor) or is_number(value) for value in sides)


def built(spec: Any, leaves: Sequence[Any]) -> Any:
    """Builds a value of its leaves."""
    if spec[0] == "leaf":
        return leaves[spec[1]]
    if spec[0] == "stacked":
        return Stacked([built(part, leaves) for part in spec[1]], built(spec[2], leaves))
    if spec[0] == "sequence":
        parts = [built(part, leaves) for part in spec[2]]
        return spec[1](*parts) if hasattr(spec[1], "_fields") else spec[1](parts)
    named = {key: built(part, leaves) for key, part in zip(spec[2], spec[3], strict=True)}
    return spec[1](**named) if spec[0] == "data" else spec[1](named)


def is_not_negative(*values: Any) -> bool:
    """Whether values are known to be no negative numbers, as sizes are."""
    return all(isinstance(value, (int, SymInt)) and statically_known_true(value >= 0) for value in values)


class Carried:
    """The values that change from round to round, as tensors; the others stay as they are."""

    def __init__(self, before: Values, after: Values, line: int):
        leaves: list[tuple[Any, Any]] = []
        self._spec = joined(before, after, leaves, line)
        self._line = line
        self._constant = [one for one, _ in leaves]
        self._after = [other for _, other in leaves]
        self._places = [place for place, (one, other) in enumerate(leaves) if not is_same(one, other)]
        self._kinds = [kind_of(*leaves[place], line) for place in self._places]
        self.first = tuple(
            as_tensor(leaves[place][0], kind, leaves[place][1])
            for place, kind in zip(self._places, self._kinds, strict=True)
        )

    @property
    def is_reshaped(self) -> bool:
        """Whether a tensor has another shape after a round."""
        shapes = ((self._constant[place], self._after[place]) for place in self._places)
        both = [(one, other) for one, other in shapes if isinstance(one, Tensor) and isinstance(other, Tensor)]
        return any(one.dim() != other.dim() or not _is_same_shape(one, other) for one, other in both)

    def tensors(self, values: Values) -> tuple[Tensor, ...]:
        """Returns the tensors of values after a round."""
        leaves: list[tuple[Any, Any]] = []
        joined(values, values, leaves, self._line)
        if len(leaves) != len(self._constant):
            raise ControlFlowError(f"line {self._line}: what a round gives has another structure than what it takes")
        return tuple(
            as_tensor(leaves[place][0], kind, None) for place, kind in zip(self._places, self._kinds, strict=True)
        )

    def values(self, tensors: Sequence[Tensor]) -> Values:
        """Returns the values for tensors."""
        leaves = list(self._constant)
        for place, kind, tensor in zip(self._places, self._kinds, tensors, strict=True):
            leaves[place] = as_python(tensor, kind)
        found: Values = built(self._spec, leaves)
        return found


def _is_same_shape(one: Tensor, other: Tensor) -> bool:
    return all(statically_known_true(a == b) for a, b in zip(one.shape, other.shape, strict=True))


def several_of(items: Any) -> Several | None:
    """What a loop goes through, where how much that is may vary; None where Python knows."""
    if isinstance(items, Several):
        return items
    if isinstance(items, Stacked):
        items = items.whole
    if isinstance(items, Tensor) and isinstance(items.shape[0], SymInt):
        return Several((items,), lambda one: one)
    return None


def counting(start: Any, stop: Any, step: Any) -> Several:
    """Numbers from a start to before a stop, which are tensors."""
    return Several((torch.arange(start, stop, step),), lambda one: one)
