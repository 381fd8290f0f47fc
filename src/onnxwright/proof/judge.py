"""Whether an answer is the reference's answer: limits from the reference's own noise, and what was noticed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Tensors
from onnxwright.dtypes import is_float
from onnxwright.errors import EngineError, ForwardError
from onnxwright.findings import Finding
from onnxwright.manifest import Tolerance, Wrong
from onnxwright.reference import Reference
from onnxwright.tolerance import SAME_DOUBLE, SAME_HALF, SAME_PRECISION, ToleranceClass

_NEGLIGIBLE = 1e-6
_MOST_IDLE = 12
"""So many other choices, or roundings, that account for nothing more say that something else is wrong."""


Masks = Mapping[str, Array]
"""Elements of each output, by its name."""


class Ruling(NamedTuple):
    """Whether an answer is right, and the limit of each output; `is_right` is None where noise hides the difference."""

    is_right: bool | None
    limits: Mapping[str, float]
    hidden: str = ""
    """What hides the difference, in words."""
    errors: Mapping[str, float] | None = None
    """The errors that count, where these are others than those that were held."""


class Judge:
    """Holds answers against a reference, learns its noise, and keeps what it notices on the way."""

    def __init__(self, reference: Reference):
        self._reference = reference
        self._floors: dict[str, float] = {}
        self._exact: set[str] = set()
        self._double: set[str] = set()
        self._evident: set[str] = set()
        self._noticed: dict[tuple[str, str], Finding] = {}

    @property
    def findings(self) -> list[Finding]:
        """What was noticed, outputs without any evidence included."""
        vacuous = [name for name in self._floors if name not in self._evident]
        return [
            *self._noticed.values(),
            *(
                Finding("vacuous-output", f"Output '{name}': the reference answers only NaN, infinity or no element.")
                for name in vacuous
            ),
        ]

    def tolerance(self, of: ToleranceClass = SAME_PRECISION) -> Tolerance:
        """Returns the limit of each output for candidates of a class, and where it comes from."""
        classes = {name: self.class_of(name, of) for name in self._floors}
        return Tolerance(
            name=of.name,
            limits=self._limits(of, self._floors),
            floors=dict(self._floors),
            origin=self._reference.origin,
            multiple=of.multiple,
            classes={name: found.name for name, found in classes.items()},
            is_overall=of.is_overall,
            is_for_usual=of.is_for_usual,
        )

    def look_at(self, feeds: Tensors, expected: Tensors, where: str) -> None:
        """Takes in one answer of the reference."""
        if not self._floors:
            self._learn_floors(feeds, expected)
        for name, array in expected.items():
            is_finite = not is_float(array.dtype.name) or np.isfinite(array)
            if np.any(is_finite):
                self._evident.add(name)
            if not np.all(is_finite):
                self._notice(
                    "non-finite-output", f"Output '{name}' of the reference holds NaN or infinity", where, key=name
                )

    def rule(
        self,
        errors: Mapping[str, float],
        feeds: Tensors,
        expected: Tensors,
        answered: Tensors,
        of: ToleranceClass = SAME_PRECISION,
    ) -> Ruling:
        """Holds each error against its output's limit or, where it is beyond that, the noise at this very point."""
        limits = self._limits(of, self._floors)
        over = [name for name, error in errors.items() if error > limits[name]]
        if not over:
            return Ruling(is_right=True, limits=limits)
        if any(not is_comparable(expected[name], answered.get(name)) for name in over) or self._is_unsteady(
            feeds, expected
        ):
            return Ruling(is_right=False, limits=limits)
        noise = self._reference.noise(feeds, expected)
        raised = {**limits, **self._limits(of, {name: noise[name] for name in over})}
        beyond = [name for name in over if errors[name] > raised[name]]
        if beyond:
            swing = self._reference.swing(feeds, expected)
            raised |= {
                name: tolerance.SWINGS * swing[name]
                for name in beyond
                if errors[name] <= tolerance.SWINGS * swing[name]
            }
        if any(errors[name] > raised[name] for name in beyond):
            return Ruling(is_right=False, limits=raised)
        hidden = [
            name
            for name in over
            if self.class_of(name, SAME_PRECISION).hides(noise[name])
            and _is_coarse(noise[name], expected[name], answered[name])
        ]
        told = (
            f"Output '{hidden[0]}': {self._reference.label} lies {noise[hidden[0]]:.1e} from its own noise reference"
            if hidden
            else ""
        )
        return Ruling(is_right=None if hidden else True, limits=raised, hidden=told)

    def following(
        self, steps: Callable[[Tensors], Sequence[Array]], feeds: Tensors, answered: Tensors, of: ToleranceClass
    ) -> Ruling | None:
        """Rules an answer right if the reference gives it, too, once it follows; None where it doesn't.

        It follows where rounding is a toss-up: onto the steps of its grids onto which the candidate puts numbers on the
        way, as `steps` says of feeds.
        """
        if self._reference.led is None or of.is_overall:
            return None
        limits = self._limits(of, self._floors)
        with contextlib.suppress(ForwardError, EngineError):
            put = steps(feeds)
            left = errors(self._reference.led(feeds, put), answered, of) if put else {}
            if left and all(error <= limits[name] for name, error in left.items()):
                return Ruling(is_right=True, limits=limits, errors=left)
        return None

    def note_hidden(self, ruling: Ruling, where: str) -> None:
        """Takes in that nothing can be told at a place where the model should be able to."""
        self._notice("ill-conditioned", f"{ruling.hidden}, so that nothing smaller can be told", where)

    def is_tie(self, feeds: Tensors, where: str, *, is_close: bool = False) -> bool:
        """Whether the reference picks among equal elements on these feeds, or almost equal ones, as rounding has it."""
        is_tie = self._reference.has_ties(feeds, is_close=is_close)
        if is_tie:
            self._notice_ties(where, is_close=is_close)
        return is_tie

    def is_choice(self, answered: Tensors, feeds: Tensors, expected: Tensors, of: ToleranceClass, where: str) -> bool:
        """Whether each element that is wrong is another one of the reference too, once it takes others of equals.

        Or what the reference itself answers there, once it rounds otherwise what something is decided by.
        """
        if expected.keys() - answered.keys():
            return False
        unlike = functools.partial(_differing, self._limits(of, self._floors))
        wrong = unlike(answered, expected)
        left = _unexplained(
            wrong, (_but(wrong, unlike(expected, other)) for other in self._reference.otherwise(feeds) if other)
        )
        if not _is_any(left):
            self._notice_ties(where)
            return True
        return self._is_tossed(left, answered, feeds, of, where)

    def is_toss_up(self, answered: Tensors, feeds: Tensors, expected: Tensors, of: ToleranceClass, where: str) -> bool:
        """Whether each element that is wrong is what the reference itself answers there, once it rounds otherwise."""
        if expected.keys() - answered.keys():
            return False
        wrong = _differing(self._limits(of, self._floors), answered, expected)
        return self._is_tossed(wrong, answered, feeds, of, where)

    def _is_tossed(self, wrong: Masks, answered: Tensors, feeds: Tensors, of: ToleranceClass, where: str) -> bool:
        unlike = functools.partial(_differing, self._limits(of, self._floors), answered)
        is_tossed = not _is_any(
            _unexplained(wrong, (unlike(other) for other in self._reference.tossed(feeds) if other))
        )
        if is_tossed:
            self._notice_toss_up(where)
        return is_tossed

    def is_refusable(self, feeds: Tensors, where: str) -> bool:
        """Whether the reference refuses feeds, too, once it takes others of equal elements, or rounds otherwise."""
        if None in self._reference.otherwise(feeds):
            self._notice_ties(where)
            return True
        is_tossed = None in self._reference.tossed(feeds)
        if is_tossed:
            self._notice_toss_up(where)
        return is_tossed

    def is_steep(self, found: Mapping[str, float], feeds: Tensors, of: ToleranceClass, where: str) -> bool:
        """Whether one rounding of the inputs moves the reference so far that errors may well be nothing else."""
        movement = self._reference.movement(feeds) if np.isfinite(list(found.values())).all() else {}
        limits = self._limits(of, {name: max(floor, movement.get(name, 0.0)) for name, floor in self._floors.items()})
        is_steep = all(error <= limits[name] for name, error in found.items())
        if is_steep:
            self._notice("steep-values", "One rounding of the inputs moves PyTorch's answer as far as an error", where)
        return is_steep

    def _notice_ties(self, where: str, *, is_close: bool = False) -> None:
        told = "elements that differ by rounding alone" if is_close else "equal elements, which it does not define"
        self._notice("ties", f"PyTorch picks among {told}", where, key=str(is_close))

    def _notice_toss_up(self, where: str) -> None:
        self._notice("toss-ups", "PyTorch decides by numbers that are equal but for rounding", where)

    def _is_unsteady(self, feeds: Tensors, expected: Tensors) -> bool:
        again = self._reference.session.run(feeds)
        differs = any(tolerance.distance(expected[name], again[name]) > tolerance.RUN_TO_RUN for name in expected)
        if differs:
            self._notice("nondeterministic-forward", "Two runs of PyTorch on the same inputs differ", "some sizes")
        return differs

    def class_of(self, name: str, of: ToleranceClass) -> ToleranceClass:
        """What an output is held to, by its type and by that in which the reference computes."""
        if name in self._exact:
            return of.of_whole_numbers(name)
        if of is not SAME_PRECISION:
            return of
        if name in self._double:
            return SAME_DOUBLE
        return SAME_HALF if name in self._reference.in_halves else of

    def _limits(self, of: ToleranceClass, noise: Mapping[str, float]) -> dict[str, float]:
        return {name: self.class_of(name, of).limit(floor) for name, floor in noise.items()}

    def _learn_floors(self, feeds: Tensors, expected: Tensors) -> None:
        self._double = {name for name, array in expected.items() if array.dtype == np.float64}
        self._exact = {name for name, array in expected.items() if not is_float(array.dtype.name)}
        for name, noise in self._reference.noise(feeds, expected).items():
            self._floors[name] = 0.0 if self.class_of(name, SAME_PRECISION).hides(noise) else noise

    def _notice(self, code: str, message: str, where: str, *, key: str = "") -> None:
        self._noticed.setdefault((code, key), Finding(code, f"{message}, for example at {where}."))


def _is_coarse(noise: float, expected: Array, answered: Array) -> bool:
    """Whether an error isn't small beside the greatest number, or nothing is known of noise."""
    return not np.isfinite(noise) or tolerance.coarse_distance(expected, answered) > tolerance.COARSE_LIMIT


def is_comparable(expected: Array, answered: Array | None) -> bool:
    """Returns whether noise could explain a difference: the same shape, and NaN and infinity in the same places."""
    if answered is None or answered.shape != expected.shape or answered.dtype != expected.dtype:
        return False
    return not is_float(expected.dtype.name) or np.isfinite(tolerance.distance(expected, answered))


def _differing(limits: Mapping[str, float], one: Tensors, other: Tensors) -> Masks:
    """Which elements of each output of one answer differ from those of another; all where they can't be compared."""
    return {
        name: tolerance.differing(array, other[name], limits[name])
        if name in other and (other[name].shape, other[name].dtype) == (array.shape, array.dtype)
        else np.ones(array.shape, bool)
        for name, array in one.items()
    }


def _but(masks: Masks, others: Masks) -> Masks:
    """What is in masks and not in others, where these are of the same shape."""
    return {name: mask & ~others[name] if mask.shape == others[name].shape else mask for name, mask in masks.items()}


def _unexplained(wrong: Masks, others: Iterable[Masks]) -> Masks:
    """Which of the elements that are wrong none of several answers explains, each of which says what it doesn't."""
    left, idle = wrong, 0
    for unexplained in others:
        remaining = {name: mask & unexplained[name] for name, mask in left.items()}
        idle = idle + 1 if all(np.array_equal(remaining[name], left[name]) for name in left) else 0
        left = remaining
        if idle == _MOST_IDLE or not _is_any(left):
            break
    return left


def _is_any(masks: Masks) -> bool:
    return any(map(np.any, masks.values()))


def is_negligible(expected: Tensors, answered: Tensors, feeds: Tensors) -> bool:
    """Whether a difference is so small beside the largest numbers in and out that it may well be rounding.

    A sum that cancels, or an activation that saturates, leaves only rounding errors; such a point shows nothing.
    """
    largest_in = max((_greatest(array) for array in feeds.values() if is_float(array.dtype.name)), default=0.0)
    for name, array in expected.items():
        if not is_comparable(array, answered.get(name)):
            return False
        difference = _greatest(answered[name].astype(np.float64) - array) if is_float(array.dtype.name) else 0.0
        exact = is_float(array.dtype.name) or np.array_equal(array, answered[name])
        if not exact or difference > _NEGLIGIBLE * max(largest_in, _greatest(array)):
            return False
    return True


def _greatest(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0))


def errors(expected: Tensors, answered: Tensors, of: ToleranceClass = SAME_PRECISION) -> dict[str, float]:
    """Returns the error of each output, paired by its exact name; a missing one is infinitely wrong."""
    between = tolerance.overall_distance if of.is_overall else tolerance.distance
    return {
        name: between(array, answered[name]) if name in answered else float("inf") for name, array in expected.items()
    }


def difference(found: Mapping[str, float], expected: Tensors, answered: Tensors) -> tuple[Wrong, str]:
    """Says what is wrong with the worst output, and in words."""
    name = max(found, key=lambda one: found[one])
    if name not in answered:
        return "shape", f"output '{name}' is missing"
    want, got = expected[name], answered[name]
    if want.shape == got.shape and _is_narrowed(want, got):
        return "narrowed", f"output '{name}' has lost bits: {_described(want)} is computed in fewer"
    if want.shape != got.shape or want.dtype != got.dtype:
        return "shape", f"output '{name}' is {_described(got)}, expected {_described(want)}"
    if not is_float(want.dtype.name):
        return "values", f"output '{name}' differs in {int((want != got).sum())} of {want.size} whole numbers"
    if not np.isfinite(found[name]):
        return "values", f"output '{name}' differs in NaN or infinity"
    return "values", f"output '{name}' is off by {found[name]:.1e}"


def _is_narrowed(want: Array, got: Array) -> bool:
    """Whether an answer has the digits of a smaller element type: its own, or that of what it was computed in."""
    if want.dtype != got.dtype:
        return want.dtype.kind == got.dtype.kind and got.dtype.itemsize < want.dtype.itemsize
    if want.dtype == np.float64:
        return tolerance.distance(want, got) <= tolerance.LEAST_LIMIT
    return want.dtype == np.int64 and np.array_equal(want.astype(np.int32), got.astype(np.int32))


def _described(array: Array) -> str:
    return f"{array.dtype.name}{list(array.shape)}"
