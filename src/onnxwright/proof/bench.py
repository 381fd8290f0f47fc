"""Runs points through the reference and every candidate, once, and keeps the tally."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from onnxwright import environment
from onnxwright.backends import Session, SteppingSession, Tensors
from onnxwright.errors import ForwardError
from onnxwright.manifest import Failure, Worst
from onnxwright.profile import Profile
from onnxwright.proof.box import Box, contains
from onnxwright.proof.judge import Judge, Ruling, difference, errors, is_negligible
from onnxwright.proof.lattice import Sizes, volume
from onnxwright.reference import Reference
from onnxwright.samples import TYPICAL, Sampler, Values
from onnxwright.tolerance import SAME_PRECISION, ToleranceClass
from onnxwright.words import in_sizes

Key = tuple[int, ...]

_HEAVY_SHARE = 0.01
"""A size that takes more than this share of the time is tried with one regime of values only."""


_MOST_POINTS: Final = 6
_LONE = 12
"""A point is alone with being wrong when so many sizes agree for each that doesn't."""
_MANY_WRONG = 24
_REGIME_DRAWS = 4
"""How often values that were wrong somewhere are drawn to show them right: they may be right by chance."""
_REGIME_OVERTIME = 3.0
"""How far the time is stretched to show that values which were wrong somewhere are right in what is left."""
GIVEN: Final = Values("given")
"""The inputs that came with the source or the call."""
TAKING: Final = Values("branch-taking")
"""Inputs that were searched for, because they take a branch: where one is wrong, no range of sizes mends it."""


@dataclass(frozen=True)
class _Point:
    """One call of the reference: sizes, regime of values, inputs and answer."""

    sizes: Sizes
    values: Values
    feeds: Tensors
    expected: Tensors
    seed: int = 0

    @property
    def where(self) -> str:
        """The point in words."""
        return f"{in_sizes(self.sizes)}, {self.values.name} values"


class _Hidden(NamedTuple):
    """A point at which the reference's own noise hides what a candidate does; whether rounding made a choice there."""

    ruling: Ruling
    where: str
    is_close: bool


@dataclass
class Tally:
    """What came of one candidate so far, by size, held to the limits of its class."""

    held_to: ToleranceClass = SAME_PRECISION
    agreed: dict[Key, Sizes] = field(default_factory=dict)
    failed: dict[Key, Failure] = field(default_factory=dict)
    worst: dict[Key, Worst] = field(default_factory=dict)
    regimes: dict[str, dict[Key, bool | None]] = field(default_factory=dict)
    """What came of each regime of values at each size; None where nothing could be told."""
    points: int = 0
    hidden: list[_Hidden] = field(default_factory=list)
    """Where usual values told nothing."""

    def note(self, sizes: Sizes, values: str) -> None:
        """Takes in one point that agrees; a size, and a regime there, agrees only while all of its points do."""
        self.points += 1
        key = key_of(sizes)
        seen = self.regimes.setdefault(values, {})
        seen[key] = seen.get(key) is not False
        if key not in self.failed:
            self.agreed[key] = sizes

    def note_failure(self, failure: Failure) -> None:
        """Takes in one point that is wrong."""
        self.points += 1
        key = key_of(failure.sizes)
        self.regimes.setdefault(failure.values, {})[key] = False
        self.failed.setdefault(key, failure)
        self.agreed.pop(key, None)

    def has_agreed(self, sizes: Mapping[str, int]) -> bool:
        """Whether a size was tried, and every point there agreed."""
        return key_of(sizes) in self.agreed

    def failing_regimes(self) -> list[str]:
        """Names the regimes of values that were wrong at some size."""
        return [name for name, seen in self.regimes.items() if False in seen.values()]

    def leave_open(self, sizes: Sizes, values: str) -> None:
        """Takes in a point that tells nothing."""
        self.regimes.setdefault(values, {}).setdefault(key_of(sizes), None)

    def worst_in(self, box: Box | None) -> Worst | None:
        """Returns the largest error seen in a box."""
        inside = [worst for worst in self.worst.values() if box is not None and contains(box, worst.sizes)]
        return max(inside, key=lambda worst: worst.error, default=None)


class Limit(NamedTuple):
    """How long a proof may take, in the seconds of a clock."""

    seconds: float
    clock: Callable[[], float]


class Bench:
    """One proof under way: reference, candidates, a tally for each, and a limit of time."""

    def __init__(
        self,
        reference: Reference,
        candidates: Mapping[str, Session],
        sampler: Sampler,
        profile: Profile,
        limit: Limit,
    ):
        self.judge = Judge(reference)
        self.tallies = {name: Tally() for name in candidates}
        self.refused: dict[Key, str] = {}
        self.untried: list[Sizes] = []
        self.untried_values: list[str] = []
        self.reference_label = reference.label
        self._reference = reference.session
        self._candidates = candidates
        self._sampler = sampler
        self._profile = profile
        self._clock = limit.clock
        self._deadline = limit.clock() + limit.seconds
        self._seconds = limit.seconds
        self._costliest = (1, 0.0)
        self._cheapest = math.inf
        self._regimes = itertools.cycle(sampler.regimes[1:])

    def hold_to(self, classes: Mapping[str, ToleranceClass]) -> None:
        """Holds candidates, by name, to the wider limits of a class."""
        for name, held_to in classes.items():
            self.tallies[name].held_to = held_to

    def is_over(self) -> bool:
        """Whether the time is used up, or nothing that is tried could change anything."""
        return self._clock() > self._deadline or self.is_hopeless()

    def is_hopeless(self) -> bool:
        """Whether every candidate is wrong at every size so far, and at enough to say that it is wrong."""
        return all(len(tally.failed) >= _MANY_WRONG and not tally.agreed for tally in self.tallies.values())

    def is_tried(self, sizes: Mapping[str, int]) -> bool:
        """Whether a size has been tried with every candidate, or refused by the reference."""
        key = key_of(sizes)
        return key in self.refused or all(key in tally.agreed or key in tally.failed for tally in self.tallies.values())

    def failed(self, tally: Tally) -> list[Sizes]:
        """Returns the sizes at which a candidate is wrong or the reference refuses."""
        return [self.sizes_of(key) for key in (*tally.failed, *self.refused)]

    def sizes_of(self, key: Key) -> Sizes:
        """Names the sizes of a key."""
        return dict(zip(self._profile, key, strict=True))

    def try_regimes(self, sizes: Sizes, *, seed: int) -> None:
        """Tries one size with every regime of values, the typical ones whatever time that takes."""
        for values in self._sampler.regimes:
            if values is TYPICAL or not self.is_over():
                self.try_point(sizes, values, seed=seed)
            else:
                self.untried_values.append(values.name)

    def try_given(self) -> None:
        """Tries the inputs that the user gave, where their sizes lie in the profile."""
        whole = {dim: (sizes.least, sizes.most) for dim, sizes in self._profile.items()}
        for feeds in self._sampler.given:
            sizes = self._sampler.signature.bind(feeds)
            if contains(whole, sizes):
                self._compare(sizes, GIVEN, feeds)
        for feeds in self._sampler.taking:
            self._compare(self._sampler.signature.bind(feeds), TAKING, feeds)

    def try_again(self, failures: Sequence[Failure]) -> None:
        """Tries a few points at which something else was wrong: of each kind of values the first, then others."""
        for failure, values in telling(self._sampler, failures):
            self.try_point(failure.sizes, values, seed=failure.seed)

    def try_affordable(self, sizes: Sizes, *, overtime: float = 1.0) -> None:
        """Tries a size if it fits into the time that is left, stretched by `overtime`; with one regime if heavy."""
        if self.is_tried(sizes):
            return
        if self.is_too_late(sizes, overtime=overtime):
            if sizes not in self.untried:
                self.untried.append(sizes)
            return
        is_heavy = self._predict(sizes) > _HEAVY_SHARE * self._seconds
        if is_heavy:
            environment.give_back_memory()
        self.try_size(sizes, regimes=1 if is_heavy else 2)

    def is_too_late(self, sizes: Sizes, *, overtime: float = 1.0) -> bool:
        """Whether a size doesn't fit into the time that is left, stretched by `overtime`."""
        latest = self._deadline + (overtime - 1.0) * self._seconds
        return self.is_hopeless() or self._clock() + self._predict(sizes) > latest

    def _predict(self, sizes: Sizes) -> float:
        """What a size may cost: what any call costs, and a part that grows with the volume as the largest one shows."""
        most, cost = self._costliest
        fixed = min(self._cheapest, cost)
        return fixed + (cost - fixed) * volume(sizes) / most

    def try_size(self, sizes: Sizes, *, regimes: int = 1) -> None:
        """Tries a size with typical values and, with more regimes, with others in turn."""
        for values in (TYPICAL, *itertools.islice(self._regimes, regimes - 1)):
            begun = self._clock()
            self.try_point(sizes, values)
            taken = self._clock() - begun
            self._cheapest = min(self._cheapest, taken)
            if volume(sizes) >= self._costliest[0]:
                self._costliest = (volume(sizes), taken)

    def try_regime(self, name: str, many: Iterable[Sizes], tally: Tally) -> bool:
        """Tries one regime, by its name, a few times at sizes where it wasn't; returns whether any was tried."""
        values = next((one for one in self._sampler.regimes if one.name == name), None)
        fresh = [one for one in many if key_of(one) not in tally.regimes.get(name, {})]
        if values is None:
            return False
        for sizes in fresh:
            for seed in range(_REGIME_DRAWS):
                if not self.is_too_late(sizes, overtime=_REGIME_OVERTIME):
                    self.try_point(sizes, values, seed=seed)
        return any(key_of(one) in tally.regimes.get(name, {}) for one in fresh)

    def try_point(self, sizes: Sizes, values: Values, *, seed: int = 0) -> None:
        """Tries one size with one regime of values."""
        self._compare(sizes, values, self._sampler.draw(sizes, values, seed=seed), seed)

    def _compare(self, sizes: Sizes, values: Values, feeds: Tensors, seed: int = 0) -> None:
        try:
            expected = self._reference.run(feeds)
            self._sampler.signature.check_answer(expected)
        except ForwardError as refusal:
            # Other values may be refused for what they are, which says nothing about the size.
            if values is TYPICAL:
                self.refused[key_of(sizes)] = str(refusal)
            for tally in self.tallies.values():
                tally.leave_open(sizes, values.name)
            return
        self.judge.look_at(feeds, expected, f"{in_sizes(sizes)}, {values.name} values")
        for name, session in self._candidates.items():
            self._hold(self.tallies[name], session, _Point(sizes, values, feeds, expected, seed))

    def _hold(self, tally: Tally, session: Session, point: _Point) -> None:
        key, expected = key_of(point.sizes), point.expected
        fail = functools.partial(Failure, point.sizes, values=point.values.name, seed=point.seed)
        try:
            answered = session.run(point.feeds)
        except Exception as problem:  # noqa: BLE001 - runtimes raise types of their own
            if not point.values.is_usual and self.judge.is_refusable(point.feeds, point.where):
                tally.leave_open(point.sizes, point.values.name)
                return
            tally.note_failure(fail("raises", f"raises {type(problem).__name__}: {str(problem)[:300]}"))
            return
        found = errors(expected, answered, tally.held_to)
        ruling = self.judge.rule(found, point.feeds, expected, answered, tally.held_to)
        if not ruling.is_right and isinstance(session, SteppingSession):
            ruling = self.judge.following(session.steps, point.feeds, answered, tally.held_to) or ruling
        if ruling.hidden and not (point.values.is_extreme or point.values.is_alike):
            is_close = self.judge.is_tie(point.feeds, point.where, is_close=True)
            tally.hidden.append(_Hidden(ruling, point.where, is_close))
        is_beyond = tally.held_to.is_for_usual and _is_beyond(point.values, found)
        is_open = ruling.is_right is None or (
            not ruling.is_right and (is_beyond or self._tells_nothing(point, answered, tally, found))
        )
        if is_open:
            tally.leave_open(point.sizes, point.values.name)
            return
        if not ruling.is_right:
            kind, told = difference(found, expected, answered)
            tally.note_failure(fail(kind, f"{told} with {point.values.name} values"))
            return
        tally.note(point.sizes, point.values.name)
        counted = found if ruling.errors is None else ruling.errors
        output = max(counted, key=lambda name: counted[name])
        telling = self.judge.class_of(output, tally.held_to).telling
        is_telling = ruling.limits[output] <= max(telling, tally.held_to.least)
        if is_telling and (key not in tally.worst or counted[output] > tally.worst[key].error):
            tally.worst[key] = Worst(counted[output], ruling.limits[output], output, point.sizes, point.values.name)

    def tell_hidden(self, tally: Tally) -> None:
        """Says where nothing could be told; not where rounding chose among almost equal elements, and hardly ever."""
        is_rare = all(one.is_close for one in tally.hidden) and _LONE * len(tally.hidden) <= len(tally.agreed)
        for one in () if is_rare else tally.hidden:
            self.judge.note_hidden(one.ruling, one.where)

    def _tells_nothing(self, point: _Point, answered: Tensors, tally: Tally, found: Mapping[str, float]) -> bool:
        """Whether unusual values make a difference that may well be rounding, or a choice among equal elements.

        Of usual values, that is said only where rounding chooses or decides, and hardly ever. Of others, where PyTorch
        itself answers otherwise once it takes others of equal elements, or rounds otherwise.
        """
        where = point.where
        shown = answered, point.feeds, point.expected, tally.held_to, where
        if not point.values.is_extreme:
            is_lone = _LONE * (len(tally.failed) + 1) <= len(tally.agreed)
            if is_lone and self.judge.is_tie(point.feeds, where, is_close=True):
                return True
            if point.values.is_alike and is_negligible(point.expected, answered, point.feeds):
                return True
            if point.values.is_usual:
                return is_lone and self.judge.is_toss_up(*shown)
            return self.judge.is_choice(*shown)
        return (
            is_negligible(point.expected, answered, point.feeds)
            or self.judge.is_tie(point.feeds, where)
            or self.judge.is_steep(found, point.feeds, tally.held_to, where)
            or self.judge.is_choice(*shown)
        )


def _is_beyond(values: Values, errors: Mapping[str, float]) -> bool:
    """Whether values are none that a lower type is made for, and the answer to them has no more wrong than numbers."""
    return values.is_extreme or (not values.is_usual and all(map(math.isfinite, errors.values())))


def key_of(sizes: Mapping[str, int]) -> Key:
    """Returns the sizes alone, in the profile's order."""
    return tuple(sizes.values())


Point = tuple[Failure, Values]


def telling(sampler: Sampler, failures: Sequence[Failure]) -> list[Point]:
    """Returns one failure of each kind of values first, then others, as far as the values can be drawn again."""
    known = {values.name: values for values in sampler.regimes}
    drawn = [failure for failure in failures if failure.values in known]
    firsts = list({failure.values: failure for failure in reversed(drawn)}.values())
    others = [failure for failure in drawn if failure not in firsts]
    return [(failure, known[failure.values]) for failure in [*firsts, *others][:_MOST_POINTS]]
