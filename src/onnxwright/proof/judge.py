"""Whether an answer is the reference's answer: limits from the reference's own noise, and what was noticed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Tensors
from onnxwright.dtypes import is_float
from onnxwright.findings import Finding
from onnxwright.manifest import Tolerance
from onnxwright.reference import Reference

_NEGLIGIBLE = 1e-6


class Judge:
    """Holds answers against a reference, learns its noise, and keeps what it notices on the way."""

    def __init__(self, reference: Reference):
        self._reference = reference
        self._floors: dict[str, float] = {}
        self._evident: set[str] = set()
        self._noticed: dict[tuple[str, str], Finding] = {}

    @property
    def findings(self) -> list[Finding]:
        """What was noticed, outputs without any evidence included."""
        vacuous = [name for name in self._floors if name not in self._evident]
        return [
            *self._noticed.values(),
            *(
                Finding("vacuous-output", f"Output '{name}': the reference answers only NaN or infinity.")
                for name in vacuous
            ),
        ]

    @property
    def tolerance(self) -> Tolerance:
        """The limit of each output, and where it comes from."""
        limits = {name: tolerance.limit(floor) for name, floor in self._floors.items()}
        return Tolerance(tolerance.SAME_PRECISION, limits, dict(self._floors), self._reference.origin)

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

    def accept(
        self, errors: Mapping[str, float], feeds: Tensors, expected: Tensors, answered: Tensors
    ) -> dict[str, float] | None:
        """Returns the limit that each error keeps, or None when one keeps none.

        Where an error is beyond its output's limit, the noise at this very point may explain it.
        """
        limits = {name: tolerance.limit(floor) for name, floor in self._floors.items()}
        over = [name for name, error in errors.items() if error > limits[name]]
        if not over:
            return limits
        if any(not _is_comparable(expected[name], answered.get(name)) for name in over):
            return None
        coarse = {name: tolerance.coarse_distance(expected[name], answered[name]) for name in over}
        raised = self._limits_here(coarse, feeds, expected)
        is_kept = raised is not None and all(errors[name] <= raised[name] for name in over)
        return {**limits, **raised} if raised is not None and is_kept else None

    def _limits_here(self, over: Mapping[str, float], feeds: Tensors, expected: Tensors) -> dict[str, float] | None:
        again = self._reference.session.run(feeds)
        if any(tolerance.distance(expected[name], again[name]) > tolerance.RUN_TO_RUN for name in expected):
            self._notice("nondeterministic-forward", "Two runs of PyTorch on the same inputs differ", "some sizes")
            return None
        noise = self._reference.noise(feeds, expected)
        for name, coarse in over.items():
            is_noisy = tolerance.FLOOR_MULTIPLE * noise[name] > tolerance.MOST_LIMIT
            if is_noisy and not (np.isfinite(noise[name]) and coarse <= tolerance.COARSE_LIMIT):
                told = (
                    f"Output '{name}': float32 lies {noise[name]:.1e} from float64, so that nothing smaller can be told"
                )
                self._notice("ill-conditioned", told, "some sizes")
                return None
        return {name: tolerance.limit(noise[name]) for name in over}

    def _learn_floors(self, feeds: Tensors, expected: Tensors) -> None:
        for name, noise in self._reference.noise(feeds, expected).items():
            is_usable = np.isfinite(noise) and noise * tolerance.FLOOR_MULTIPLE <= tolerance.MOST_LIMIT
            self._floors[name] = noise if is_usable else 0.0

    def _notice(self, code: str, message: str, where: str, *, key: str = "") -> None:
        self._noticed.setdefault((code, key), Finding(code, f"{message}, as at {where}."))


def _is_comparable(expected: Array, answered: Array | None) -> bool:
    """Whether noise could explain a difference: the same shape, and NaN and infinity in the same places."""
    if answered is None or answered.shape != expected.shape or answered.dtype != expected.dtype:
        return False
    return not is_float(expected.dtype.name) or np.isfinite(tolerance.distance(expected, answered))


def is_negligible(expected: Tensors, answered: Tensors, feeds: Tensors) -> bool:
    """Whether a difference is so small beside the largest numbers in and out that it may well be rounding.

    A sum that cancels, or an activation that saturates, leaves only rounding errors; such a point shows nothing.
    """
    largest_in = max((_greatest(array) for array in feeds.values() if is_float(array.dtype.name)), default=0.0)
    for name, array in expected.items():
        if not _is_comparable(array, answered.get(name)):
            return False
        difference = _greatest(answered[name].astype(np.float64) - array) if is_float(array.dtype.name) else 0.0
        exact = is_float(array.dtype.name) or np.array_equal(array, answered[name])
        if not exact or difference > _NEGLIGIBLE * max(largest_in, _greatest(array)):
            return False
    return True


def _greatest(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0))


def errors(expected: Tensors, answered: Tensors) -> dict[str, float]:
    """Returns the error of each output, paired by its exact name; a missing one is infinitely wrong."""
    return {
        name: tolerance.distance(array, answered[name]) if name in answered else float("inf")
        for name, array in expected.items()
    }


def difference(found: Mapping[str, float], expected: Tensors, answered: Tensors) -> str:
    """Says in words what is wrong with the worst output."""
    name = max(found, key=lambda one: found[one])
    if name not in answered:
        return f"output '{name}' is missing"
    want, got = expected[name], answered[name]
    if want.shape != got.shape or want.dtype != got.dtype:
        return f"output '{name}' is {_described(got)}, expected {_described(want)}"
    if not np.isfinite(found[name]):
        return f"output '{name}' differs in {'NaN or infinity' if is_float(want.dtype.name) else 'whole numbers'}"
    return f"output '{name}' is off by {found[name]:.1e}"


def _described(array: Array) -> str:
    return f"{array.dtype.name}{list(array.shape)}"
