"""Which products stay in float32: each is asked once what it costs in accuracy, then the costliest are left out."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from onnxwright import tolerance
from onnxwright.backends import Array, Ran, Session, Tensors
from onnxwright.errors import RouteError
from onnxwright.estimates import root_mean_square
from onnxwright.recipes import Material, Recipe

_ASKED: Final = 8
"""So many samples tell what a product costs, where there is time for as many."""
_SHARE: Final = 0.4
"""The part of the time that is left in which products are asked what they cost."""
_MARGIN: Final = 0.8
"""The part of the budget that may be used up on the samples that a variant is made with: others lose a little more."""
_MORE: Final = 0.15
"""This part of the products is kept beside where an engine loses more than the switched graph; each time the double."""
_LEAST_SECONDS: Final = 1e-6

LossOf = Callable[[Session], float]
"""What a session loses on the samples to calibrate by."""


class Cost(NamedTuple):
    """What one product costs in int8: the error that it alone makes of the outputs, for so many weights."""

    name: str
    error: float
    size: int

    @property
    def price(self) -> float:
        """The squared error for each weight: errors of products that don't know each other add up by their squares."""
        return self.error**2 / self.size


def mixes(
    material: Material, recipe: Recipe, loss_of: LossOf, budget: float, *, deadline: float = math.inf
) -> Iterator[Mapping[str, str]]:
    """Yields which products to keep in float32, by name with why, from few to more; nothing where it's no product's.

    The first is the least with which the switched graph stays within the budget.

    Raises:
        RouteError: when the deadline, of `time.monotonic`, passes before it is known which.
    """
    settings = material.settings_of(recipe)
    if settings is None:
        return

    def is_right(session: Session) -> bool:
        refuse_late(deadline)
        return loss_of(session) <= _MARGIN * budget

    switched = functools.cache(lambda: _Switched.of(material, settings))
    costs = material.once("costs", recipe, lambda: _sorted(_costs(switched(), material, deadline)))
    count = material.once(f"count within {budget}", recipe, lambda: _least_count(switched(), costs, is_right))
    switched.cache_clear()  # it holds the weights twice
    more = max(1, round(_MORE * len(costs)))
    while count < len(costs):
        yield {one.name: _reason(one) for one in costs[:count]}
        count, more = count + more, 2 * more


def _sorted(costs: Iterable[Cost]) -> list[Cost]:
    return sorted(costs, key=lambda one: -one.price)


def _reason(one: Cost) -> str:
    return f"in int8 it alone would put the outputs off by {one.error:.2%}"


@dataclass(frozen=True)
class _Switched:
    """A session in which each product can be switched to int8; `chosen` are those that are."""

    session: Session
    names: Sequence[str]
    sizes: Mapping[str, int]
    outputs: frozenset[str]
    chosen: frozenset[str] = frozenset()

    @classmethod
    def of(cls, material: Material, settings: Mapping[str, Any]) -> _Switched:
        from onnxwright.graph.precision.integers import with_switches

        own = [one for one in material.products if one.activation.name in settings]
        session = material.load(with_switches(material.prepared, settings))
        outputs = frozenset(str(value.name) for value in material.model.graph.outputs)
        return cls(session, [one.name for one in own], {one.name: one.size for one in own}, outputs)

    @property
    def ran(self) -> Ran:
        return self.session.ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        import numpy as np

        from onnxwright.graph.precision.integers import SWITCH

        flags = {f"{name}{SWITCH}": np.asarray(name in self.chosen) for name in self.names}
        answers = self.session.run({**feeds, **flags})
        return {name: answers[name] for name in self.outputs}

    def with_int8(self, names: frozenset[str]) -> _Switched:
        return _Switched(self.session, self.names, self.sizes, self.outputs, names)


def _costs(switched: _Switched, material: Material, deadline: float) -> Iterator[Cost]:
    """What each product costs alone: asked of fewer samples where they take long to answer."""
    begun = time.monotonic()
    first = switched.run(material.calibration[0])
    calls = _SHARE * (deadline - begun) / max(time.monotonic() - begun, _LEAST_SECONDS)
    samples = material.calibration[: max(1, int(min(_ASKED, calls / max(1, len(switched.names)))))]
    right = [first, *(switched.run(one) for one in samples[1:])]
    for name in switched.names:
        refuse_late(deadline)
        alone = switched.with_int8(frozenset({name}))
        errors = [_error(expected, alone.run(one)) for expected, one in zip(right, samples, strict=True)]
        yield Cost(name, root_mean_square(errors), switched.sizes[name])


def refuse_late(deadline: float) -> None:
    """Ends a search that has no time left.

    Raises:
        RouteError: after the deadline.
    """
    if time.monotonic() > deadline:
        raise RouteError("the time for the search ran out before the nodes were found; allow more with --search-time.")


def _error(expected: Tensors, answered: Tensors) -> float:
    """The error of the worst output, of which none counts for more than all of it."""
    found = (tolerance.overall_distance(array, answered[name]) for name, array in expected.items())
    return min(1.0, max(found, default=0.0))


def _least_count(switched: _Switched, costs: Sequence[Cost], is_right: Callable[[Session], bool]) -> int:
    """How many of the costliest products have to stay, found by bisection; all where no other number will do."""
    low, high = 0, len(costs)
    while low < high:
        middle = (low + high) // 2
        rest = frozenset(one.name for one in costs[middle:])
        if is_right(switched.with_int8(rest)):
            high = middle
        else:
            low = middle + 1
    return low
