"""Points at which one candidate was wrong, tried with another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from onnxwright.backends import Session
from onnxwright.manifest import Failure
from onnxwright.profile import Profile
from onnxwright.proof.bench import Bench, Limit
from onnxwright.reference import Reference
from onnxwright.samples import Sampler, Values

_MOST_POINTS: Final = 6
_NAME: Final = "candidate"

Point = tuple[Failure, Values]


class Replay:
    """A few points at which a candidate was wrong, of each kind of values the first; drawn again for others."""

    def __init__(self, reference: Reference, sampler: Sampler, profile: Profile, failures: Sequence[Failure]):
        self._reference, self._sampler, self._profile = reference, sampler, profile
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
        for failure, values in self._points:
            bench.try_point(failure.sizes, values, seed=failure.seed)
            if tally.failed:
                return True
        return False


def telling(sampler: Sampler, failures: Sequence[Failure]) -> list[Point]:
    """Returns one failure of each kind of values first, then others, as far as the values can be drawn again."""
    known = {values.name: values for values in sampler.regimes}
    drawn = [failure for failure in failures if failure.values in known]
    firsts = list({failure.values: failure for failure in reversed(drawn)}.values())
    others = [failure for failure in drawn if failure not in firsts]
    return [(failure, known[failure.values]) for failure in [*firsts, *others][:_MOST_POINTS]]
