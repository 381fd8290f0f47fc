"""Points at which one candidate was wrong, tried with another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from onnxwright.backends import Session
from onnxwright.manifest import Failure
from onnxwright.profile import Profile
from onnxwright.proof.bench import Bench, Limit, telling
from onnxwright.reference import Reference
from onnxwright.samples import Sampler
from onnxwright.tolerance import SAME_PRECISION, ToleranceClass

_NAME: Final = "candidate"


class Replay:
    """A few points at which a candidate was wrong, of each kind of values the first; drawn again for others."""

    def __init__(
        self,
        reference: Reference,
        sampler: Sampler,
        profile: Profile,
        failures: Sequence[Failure],
        *,
        held_to: ToleranceClass = SAME_PRECISION,
    ):
        self._reference, self._sampler, self._profile, self._held_to = reference, sampler, profile, held_to
        self._points = telling(sampler, failures)

    @property
    def is_empty(self) -> bool:
        """Whether none can be drawn again, as where only inputs that were given are answered wrong."""
        return not self._points

    def fails(self, session: Session) -> bool:
        """Whether a candidate is wrong at one of the points."""
        limit = Limit(math.inf, lambda: 0.0)
        bench = Bench(self._reference, {_NAME: session}, self._sampler, self._profile, limit)
        tally = bench.tallies[_NAME]
        tally.held_to = self._held_to
        for failure, values in self._points:
            bench.try_point(failure.sizes, values, seed=failure.seed)
            if tally.failed:
                return True
        return False
