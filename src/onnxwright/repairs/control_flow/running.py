"""Runs the control flow of a rewritten function: as Python where Python knows the answer, else as an operator.

A branch becomes `torch.cond`, a `while` becomes `while_loop`, a `for` over what varies in length becomes `scan`. Values
that an operator can't hand on (strings, objects) stay as they are where both sides agree on them. Inside of such an
operator PyTorch follows this code by dynamo, which can't tell a size from a number: there, all that decides is an
operator, and dynamo itself takes one side where it knows the answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import SymBool, Tensor

from onnxwright.repairs.control_flow.handed import (
    UNDEFINED,
    Carried,
    Prepended,
    Several,
    Stacked,
    Values,
    as_python,
    as_tensor,
    built,
    counting,
    is_not_negative,
    is_same,
    joined,
    kind_of,
    several_of,
    shaped,
)
from onnxwright.repairs.control_flow.leaving_out import Question, current
from onnxwright.repairs.control_flow.settled import is_settled

_MOST_RESHAPED: Final = 10
"""The rounds of a `while` in which a tensor changes its shape, which no operator loops over: halving a thousand."""
_MOST_UNROLLED: Final = 3
"""The rounds of a loop that ends early by a value, of which Python knows the most, that are written out."""


def branch(test: Any, then: Callable[..., Any], otherwise: Callable[..., Any], line: int, *values: Any) -> Any:
    """Returns what one side returns, given the values that names have before it."""
    noted = current()
    question = Question(then.__code__.co_filename, line)
    if not _is_open(test):
        if noted is not None:
            noted.taken[question].add(bool(test))
        return then(*values) if test else otherwise(*values)
    sides = then(*values), otherwise(*values)  # what an operator decides stays out of the graph: this tells what it is
    leaves: list[tuple[Any, Any]] = []
    lacking: list[int] = []
    spec = joined(sides[0], sides[1], leaves, line, None if noted is None else lacking)
    if noted is not None and lacking:
        noted.left_out[question] = 0 in lacking
    handed = [place for place, (one, other) in enumerate(leaves) if not is_same(one, other)]
    if not handed:
        return built(spec, [one for one, _ in leaves])
    kinds = [kind_of(*leaves[place], line) for place in handed]

    def taken(side: int) -> tuple[Tensor, ...]:
        returned = (then, otherwise)[side](*values)
        flat: list[tuple[Any, Any]] = []
        joined(returned, sides[1 - side], flat, line)
        return tuple(
            as_tensor(flat[place][0], kind, leaves[place][1 - side]) for place, kind in zip(handed, kinds, strict=True)
        )

    answers = torch.cond(_truth(test), lambda: taken(0), lambda: taken(1), ())
    whole = [one for one, _ in leaves]
    for place, kind, answer in zip(handed, kinds, answers, strict=True):
        whole[place] = as_python(shaped(answer, *leaves[place]), kind)
        if is_not_negative(*leaves[place]) and not isinstance(whole[place], Tensor):
            torch._check(whole[place] >= 0)
    return built(spec, whole)


def loop(test: Callable[..., Any], body: Callable[..., Values], line: int, *values: Any) -> Values:
    """Returns the values of names after a `while`."""
    while True:
        asked = test(*values)
        if _is_open(asked):
            break
        if not asked:
            return values
        values = body(*values)
    after = body(*values)
    carried = Carried(values, after, line)
    if carried.is_reshaped:
        for _ in range(_MOST_RESHAPED):
            values = branch(test(*values), body, lambda *same: same, line, *values)
        return values

    def is_going(*tensors: Tensor) -> Any:
        return _as_bool_tensor(test(*carried.values(tensors)))

    def rounds(*tensors: Tensor) -> tuple[Tensor, ...]:
        return carried.tensors(body(*carried.values(tensors)))

    from torch._higher_order_ops.while_loop import while_loop

    return carried.values(while_loop(is_going, rounds, carried.first))


def each(items: Any, body: Callable[..., Values], line: int, *values: Any) -> Values:
    """Returns the values of names after a `for`."""
    several = several_of(items)
    if several is not None:
        return _rounds(several, body, line, values)
    for place, item in enumerate(items):
        before, values = values, body(item, *values)
        left = items[place + 1 :] if isinstance(items, range) else ()
        if len(left) > _MOST_UNROLLED and _opens(before, values):
            # From before the round that opens it, else from after that; what can't go round by round is unrolled.
            for rest, start in ((items[place:], before), (left, values)):
                with contextlib.suppress(Exception):
                    return _rounds(counting(rest.start, rest.stop, rest.step), body, line, start)
    return values


def _opens(before: Values, after: Values) -> bool:
    """Whether a flag that Python knew is a tensor after a round, as where a loop ends early by a value."""
    if torch.compiler.is_dynamo_compiling():
        return False
    pairs = zip(before, after, strict=True)
    return any(isinstance(one, bool) and isinstance(other, Tensor) for one, other in pairs)


def _rounds(several: Several, body: Callable[..., Values], line: int, values: Values) -> Values:
    """A loop by an operator: one that stacks what each round adds to lists, where there are such."""
    after = body(several.item(*(one[0] for one in several.tensors)), *values)
    grown = [
        place
        for place, (one, other) in enumerate(zip(values, after, strict=True))
        if isinstance(one, list) and isinstance(other, list) and len(other) > len(one)
    ]
    carried = Carried(_without(values, grown), _without(after, grown), line)
    if not grown:
        return _counted(several, body, carried)

    def rounds(state: tuple[Tensor, ...], elements: tuple[Tensor, ...]) -> tuple[Any, Any]:
        known = list(carried.values(state[1:]))
        for place in grown:
            known[place] = list(values[place])
        done = body(several.item(*elements), *known)
        new = tuple(torch.stack([one.clone() for one in _new(done[place], values[place])]) for place in grown)
        return (state[0] + 1, *carried.tensors(_without(done, grown))), new

    from torch._higher_order_ops.scan import scan

    count = torch.zeros((), dtype=torch.int64)
    state, stacked = scan(rounds, (count, *carried.first), several.tensors)
    known = list(carried.values(state[1:]))
    for place, one in zip(grown, stacked, strict=True):
        known[place] = _grown(values[place], one, is_in_front=isinstance(after[place], Prepended))
    return tuple(known)


def _new(after: list[Any], before: list[Any]) -> list[Any]:
    """What a round has added to a list, at its end or in front."""
    return after[: len(after) - len(before)] if isinstance(after, Prepended) else after[len(before) :]


def _grown(before: list[Any], rounds: Tensor, *, is_in_front: bool) -> Stacked:
    """A list with what each round has added to it."""
    if not is_in_front:
        return Stacked(before, rounds.flatten(0, 1))
    return Stacked((), rounds.flip(0).flatten(0, 1)) + before


def _counted(several: Several, body: Callable[..., Values], carried: Carried) -> Values:
    from torch._higher_order_ops.while_loop import while_loop

    count = several.tensors[0].shape[0]

    def is_going(index: Tensor, *_: Tensor) -> Tensor:
        return index < count

    def rounds(index: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        elements = [one.index_select(0, index.reshape(1)).squeeze(0) for one in several.tensors]
        after = carried.tensors(body(several.item(*elements), *carried.values(state)))
        return (index + 1, *(after if carried.is_reshaped else map(_in_shape_of, state, after)))

    start = torch.zeros((), dtype=torch.int64)
    _, *state = while_loop(is_going, rounds, (start, *carried.first))
    return carried.values(state)


def _in_shape_of(before: Tensor, after: Tensor) -> Tensor:
    """What a round gives, said to have the shape of what it takes, which the first round has shown to be the same.

    The operator refuses what it can't tell to be so.
    """
    for one, other in zip(after.shape, before.shape, strict=True):
        torch._check(one == other)
    return after.expand(before.shape) if before.dim() else after


def _without(values: Values, places: Sequence[int]) -> Values:
    return tuple(UNDEFINED if place in places else one for place, one in enumerate(values))


def listed(items: Any, element: Callable[[Any], Any], line: int) -> Any:
    """Returns a list with what is made of each item."""
    several = several_of(items)
    if several is None:
        return [element(item) for item in items]
    (made,) = each(items, lambda item, so_far: ([*so_far, element(item)],), line, [])
    return made


def both(first: Any, second: Callable[[], Any]) -> Any:
    """`and`."""
    if not _is_open(first):
        return first and second()
    other = second()
    if _is_open(other):
        return torch.logical_and(_as_bool_tensor(first), _as_bool_tensor(other))
    return first if other else other


def either(first: Any, second: Callable[[], Any]) -> Any:
    """`or`."""
    if not _is_open(first):
        return first or second()
    other = second()
    if _is_open(other):
        return torch.logical_or(_as_bool_tensor(first), _as_bool_tensor(other))
    return other or first


def opposite(value: Any) -> Any:
    """`not`."""
    if isinstance(value, SymBool):
        return torch.sym_not(value)
    return torch.logical_not(_as_bool_tensor(value)) if isinstance(value, Tensor) else not value


def is_certain(test: Any) -> bool:
    """Whether Python knows that something is true; where it doesn't, the export is told that it is not."""
    if isinstance(test, Tensor):
        torch._check(torch.logical_not(_as_bool_tensor(test)).item())
        return False
    if isinstance(test, SymBool):
        torch._check(torch.sym_not(test))
        return False
    return bool(test)


def _is_open(test: Any) -> bool:
    """Whether an operator has to decide."""
    noted = current()
    if noted is not None and noted.is_watching:
        return False
    if torch.compiler.is_dynamo_compiling():
        return isinstance(test, (Tensor, bool))
    return isinstance(test, Tensor) or (isinstance(test, SymBool) and not is_settled(test))


def _truth(test: Any) -> Any:
    return _as_bool_tensor(test) if isinstance(test, Tensor) else test


def _as_bool_tensor(test: Any) -> Any:
    if isinstance(test, Tensor):
        return test.reshape(()).to(torch.bool)
    if isinstance(test, SymBool):
        return torch.full((), 1, dtype=torch.int64) * torch.sym_ite(test, 1, 0) > 0
    return torch.full((), bool(test))
