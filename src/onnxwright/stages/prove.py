"""Shows where candidates compute what the reference computes, and where they don't."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from onnxwright import manifest, tolerance
from onnxwright.backends import Array, Session, Tensors
from onnxwright.box import Box, clamped, contains, distance, largest_box, nearest
from onnxwright.dtypes import is_float
from onnxwright.errors import ForwardError, SignatureError
from onnxwright.findings import Finding
from onnxwright.lattice import essential, sweep, volume
from onnxwright.manifest import Proof, Tolerance, Worst
from onnxwright.profile import Profile
from onnxwright.reference import Reference
from onnxwright.samples import TYPICAL, Sampler, Values

BUDGETS: Final = {"quick": 5.0, "normal": 20.0, "thorough": 900.0}
"""Seconds for one proof, by name."""

_SWEEP_SHARE = 0.2
_HEAVY_SHARE = 0.02
_GIVEN = Values("given")

Sizes = dict[str, int]


@dataclass(frozen=True)
class Plan:
    """What a proof is to cover: the profile, the sizes of the export, seconds and seed."""

    profile: Profile
    traced: Mapping[str, int]
    seconds: float = BUDGETS["normal"]
    seed: int = 0


def prove(reference: Reference, candidates: Mapping[str, Session], sampler: Sampler, plan: Plan) -> dict[str, Proof]:
    """Holds candidates against one reference over a lattice of sizes and values, and returns a proof for each.

    The range of a proof is the box of sizes in which every point that was tried agreed; its ends are included, and
    were tried.
    """
    bench = _Bench(reference, candidates, sampler, plan)
    bench.try_lattice()
    return {name: bench.conclude(name) for name in candidates}


@dataclass
class _Tally:
    """What came of one candidate so far."""

    agreed: dict[tuple[int, ...], Sizes] = field(default_factory=dict)
    failed: dict[tuple[int, ...], str] = field(default_factory=dict)
    worst: Worst | None = None
    worst_by_size: dict[tuple[int, ...], Worst] = field(default_factory=dict)
    points: int = 0


class _Bench:
    """One proof under way: the points tried, what the reference refused, and a tally for each candidate."""

    def __init__(self, reference: Reference, candidates: Mapping[str, Session], sampler: Sampler, plan: Plan):
        self._reference = reference
        self._candidates = candidates
        self._sampler = sampler
        self._plan = plan
        self._tallies = {name: _Tally() for name in candidates}
        self._refused: dict[tuple[int, ...], str] = {}
        self._untried: list[Sizes] = []
        self._floors: dict[str, float] = {}
        self._evident: set[str] = set()
        self._findings: dict[tuple[str, str], Finding] = {}
        self._started = time.monotonic()
        self._costliest = (1, 0.0)
        self._regimes = itertools.cycle(sampler.regimes[1:])

    def try_lattice(self) -> None:
        """Tries the essential sizes, then, for a share of the time, as many others as it allows."""
        sizes = essential(self._plan.profile, self._plan.traced, seed=self._plan.seed)
        for values in self._sampler.regimes:
            self._try_point(sizes[0], values, seed=self._plan.seed + 1)
        for feeds in self._sampler.given:
            self._try_given(feeds)
        for one in sizes:
            self._try_affordable(one)
        begun = time.monotonic()
        for one in sweep(self._plan.profile):
            if time.monotonic() - begun > _SWEEP_SHARE * self._plan.seconds or self._elapsed() > self._plan.seconds:
                break
            if _key(one) not in self._refused and not self._is_tried(one):
                self._try_size(one, regimes=1)

    def conclude(self, name: str) -> Proof:
        """Finds the box of one candidate, trying the sizes at its edges."""
        tally = self._tallies[name]
        whole: Box = {dim: (sizes.least, sizes.most) for dim, sizes in self._plan.profile.items()}
        box = self._box(tally, whole)
        for _ in range(40):
            if box is None or not self._try_all(self._at_edges(tally, box, whole)):
                break
            box = self._box(tally, whole)
        blocked = [found for found in self._findings.values() if found.blocks_proof]
        verdict = self._verdict(tally, box, whole, blocked)
        return Proof(
            verdict=verdict,
            range={} if box is None or verdict == "failed" else box,
            points=tally.points,
            worst=self._worst(tally, box),
            tolerance=Tolerance(tolerance.SAME_PRECISION, self._limits(), dict(self._floors), self._reference.origin),
            reference=self._reference.label,
            candidate=_label(self._candidates[name]),
            sizes=tuple(tally.agreed.values()),
            findings=tuple(self._told(tally, box, whole)),
        )

    def _box(self, tally: _Tally, whole: Box) -> Box | None:
        anchor = nearest(tally.agreed.values(), self._plan.profile.usual)
        if anchor is None:
            return None

        def agrees(sizes: Mapping[str, int]) -> bool:
            if not self._is_tried(dict(sizes)):
                self._try_affordable(dict(sizes))
            return _key(sizes) in tally.agreed

        failed = sorted(self._failed(tally), key=lambda point: distance(point, anchor))
        return largest_box(whole, list(tally.agreed.values()), failed, anchor, agrees)

    def _failed(self, tally: _Tally) -> list[Sizes]:
        return [self._sizes(key) for key in (*tally.failed, *self._refused)]

    def _at_edges(self, tally: _Tally, box: Box, whole: Box) -> Iterator[Sizes]:
        """Yields what would show that the box is too large or too small.

        Sizes halfway between where it ends and where it is known to fail; where it touches what fails outside of
        it; its corners; and some inside.
        """
        failed = self._failed(tally)
        for dim, (low, high) in box.items():
            open_box = {**box, dim: whole[dim]}
            below = [point for point in failed if point[dim] < low and contains(open_box, point)]
            above = [point for point in failed if point[dim] > high and contains(open_box, point)]
            if below:
                point = max(below, key=lambda one: one[dim])
                yield {**point, dim: (point[dim] + low) // 2}
            if above:
                point = min(above, key=lambda one: one[dim])
                yield {**point, dim: (point[dim] + high + 1) // 2}
        if box != whole:
            touching = sorted((clamped(box, point) for point in failed), key=volume)
            yield from touching[:: max(1, len(touching) // 64)]
            yield from (dict(zip(box, ends, strict=True)) for ends in itertools.product(*box.values()))
            yield from self._inside(box)

    def _inside(self, box: Box, count: int = 8) -> Iterator[Sizes]:
        rng = np.random.default_rng([self._plan.seed, *(end for ends in box.values() for end in ends)])
        for _ in range(count):
            yield {dim: int(rng.integers(low, high, endpoint=True)) for dim, (low, high) in box.items()}

    def _try_all(self, many: Iterator[Sizes]) -> bool:
        fresh = [sizes for sizes in many if not self._is_tried(sizes) and sizes not in self._untried]
        for sizes in fresh:
            self._try_affordable(sizes)
        return any(self._is_tried(sizes) for sizes in fresh)

    def _try_affordable(self, sizes: Sizes) -> None:
        """Tries a size with two regimes, with one where it is heavy, and not at all where time doesn't allow."""
        most, seconds = self._costliest
        predicted = seconds * volume(sizes) / most
        if self._elapsed() + predicted > self._plan.seconds:
            if sizes not in self._untried:
                self._untried.append(sizes)
            return
        self._try_size(sizes, regimes=1 if predicted > _HEAVY_SHARE * self._plan.seconds else 2)

    def _try_size(self, sizes: Sizes, *, regimes: int) -> None:
        chosen = [TYPICAL, *itertools.islice(self._regimes, regimes - 1)]
        for values in chosen:
            begun = time.monotonic()
            self._try_point(sizes, values, seed=self._plan.seed)
            spent = time.monotonic() - begun
            if volume(sizes) >= self._costliest[0]:
                self._costliest = (volume(sizes), spent)

    def _try_given(self, feeds: Tensors) -> None:
        try:
            sizes = self._sampler.signature.bind(feeds)
        except SignatureError:
            return
        if contains({dim: (least, most) for dim, (least, _, most) in self._plan.profile.items()}, sizes):
            self._compare(sizes, _GIVEN, feeds)

    def _try_point(self, sizes: Sizes, values: Values, *, seed: int) -> None:
        self._compare(sizes, values, self._sampler.draw(sizes, values, seed=seed))

    def _compare(self, sizes: Sizes, values: Values, feeds: Tensors) -> None:
        try:
            expected = self._reference.session.run(feeds)
        except ForwardError as refusal:
            if values is TYPICAL:
                self._refused[_key(sizes)] = str(refusal)
            return
        self._look_at(expected, sizes, values)
        for name, session in self._candidates.items():
            self._judge(self._tallies[name], session, sizes, values, feeds, expected)

    def _judge(
        self, tally: _Tally, session: Session, sizes: Sizes, values: Values, feeds: Tensors, expected: Tensors
    ) -> None:
        key = _key(sizes)
        tally.points += 1
        try:
            answered = session.run(feeds)
        except Exception as problem:  # runtimes raise types of their own
            tally.failed.setdefault(key, f"raises {type(problem).__name__}: {str(problem)[:300]}")
            tally.agreed.pop(key, None)
            return
        errors = _errors(expected, answered)
        if self._is_within(errors, feeds, expected, answered):
            if key not in tally.failed:
                tally.agreed[key] = sizes
            self._note_worst(tally, errors, sizes, values)
        else:
            tally.failed.setdefault(key, _difference(errors, expected, answered, values))
            tally.agreed.pop(key, None)

    def _is_within(self, errors: Mapping[str, float], feeds: Tensors, expected: Tensors, answered: Tensors) -> bool:
        """Whether every error is within its limit; where one is not, within that of this very point's own noise."""
        if not self._floors:
            self._floors.update({name: 0.0 for name in expected})
            self._raise_floors(feeds, expected)
        over = [name for name, error in errors.items() if error > tolerance.limit(self._floors[name])]
        if not over:
            return True
        if any(not np.isfinite(errors[name]) and is_float(expected[name].dtype.name) for name in over):
            return False
        return self._explains(over, errors, feeds, expected)

    def _explains(self, over: Sequence[str], errors: Mapping[str, float], feeds: Tensors, expected: Tensors) -> bool:
        noise = self._noise(feeds, expected)
        again = self._reference.session.run(feeds)
        if any(tolerance.distance(expected[name], again[name]) > tolerance.RUN_TO_RUN for name in expected):
            self._note("nondeterministic-forward", "Two runs of PyTorch on the same inputs differ.")
            return False
        for name in over:
            if tolerance.FLOOR_MULTIPLE * noise[name] > tolerance.MOST_LIMIT:
                self._note(
                    "ill-conditioned",
                    f"Output '{name}': float32 lies {noise[name]:.1e} from float64 here; an error of {errors[name]:.1e} "
                    "can't be told from noise.",
                )
                return False
        return all(errors[name] <= tolerance.limit(noise[name]) for name in over)

    def _raise_floors(self, feeds: Tensors, expected: Tensors) -> None:
        for name, noise in self._noise(feeds, expected).items():
            if np.isfinite(noise) and tolerance.FLOOR_MULTIPLE * noise <= tolerance.MOST_LIMIT:
                self._floors[name] = max(self._floors[name], noise)

    def _noise(self, feeds: Tensors, expected: Tensors) -> dict[str, float]:
        try:
            return self._reference.noise(feeds, expected)
        except ForwardError:
            return dict.fromkeys(expected, 0.0)

    def _look_at(self, expected: Tensors, sizes: Sizes, values: Values) -> None:
        for name, array in expected.items():
            if not is_float(array.dtype.name) or np.isfinite(array).any():
                self._evident.add(name)
            if is_float(array.dtype.name) and not np.isfinite(array).all():
                where = f"{_written(sizes)}, {values.name} values"
                self._note(
                    "non-finite-output", f"Output '{name}' of the reference holds NaN or infinity, as at {where}."
                )

    def _note(self, code: str, message: str) -> None:
        key = (code, message.partition(" holds ")[0] if code == "non-finite-output" else code)
        self._findings.setdefault(key, Finding(code, message))

    def _note_worst(self, tally: _Tally, errors: Mapping[str, float], sizes: Sizes, values: Values) -> None:
        output = max(errors, key=lambda name: errors[name])
        kept = tally.worst_by_size.get(_key(sizes))
        if kept is None or errors[output] > kept.error:
            tally.worst_by_size[_key(sizes)] = Worst(errors[output], output, sizes, values.name)

    def _verdict(self, tally: _Tally, box: Box | None, whole: Box, blocked: Sequence[Finding]) -> manifest.Verdict:
        if box is None or blocked or not self._evident >= set(self._sampler.signature.output_names):
            return "failed"
        inside = [sizes for sizes in tally.agreed.values() if contains(box, sizes)]
        can_leave = any(low != high for low, high in whole.values())
        if can_leave and all(sizes == dict(self._plan.traced) for sizes in inside):
            return "failed"
        return "proven" if box == whole else "partial"

    def _told(self, tally: _Tally, box: Box | None, whole: Box) -> Iterator[Finding]:
        yield from self._findings.values()
        for name in sorted(set(self._sampler.signature.output_names) - self._evident):
            yield Finding("vacuous-output", f"Output '{name}': the reference answers only NaN or infinity.")
        if self._refused:
            key = next(iter(self._refused))
            span = _written(_spans(self._sizes(one) for one in self._refused))
            yield Finding("reference-refuses-size", f"The model itself raises at {span}: {self._refused[key]}")
        if tally.failed:
            key, reason = next(iter(tally.failed.items()))
            count = f"{len(tally.failed)} of {len(tally.failed) + len(tally.agreed)} sizes"
            yield Finding("outputs-differ", f"Wrong at {count}, as at {_written(self._sizes(key))}: {reason}.")
        if box is not None and box != whole:
            yield Finding("range-narrowed", f"Asked for {_written(whole)}; shown for {_written(box)}.")
        if self._untried:
            listed = "; ".join(_written(sizes) for sizes in self._untried[-3:])
            more = f" and {len(self._untried) - 3} more" if len(self._untried) > 3 else ""
            yield Finding("not-tried", f"Not tried, for lack of time: {listed}{more}.")

    def _worst(self, tally: _Tally, box: Box | None) -> Worst | None:
        inside = [worst for key, worst in tally.worst_by_size.items() if box and contains(box, self._sizes(key))]
        return max(inside, key=lambda worst: worst.error, default=None)

    def _limits(self) -> dict[str, float]:
        return {name: tolerance.limit(floor) for name, floor in self._floors.items()}

    def _is_tried(self, sizes: Sizes) -> bool:
        key = _key(sizes)
        return key in self._refused or all(key in (*tally.agreed, *tally.failed) for tally in self._tallies.values())

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _sizes(self, key: tuple[int, ...]) -> Sizes:
        return dict(zip(self._plan.profile, key, strict=True))


def _key(sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes.values())


def _errors(expected: Tensors, answered: Tensors) -> dict[str, float]:
    return {name: tolerance.distance(array, _paired(answered, name, array)) for name, array in expected.items()}


def _paired(answered: Tensors, name: str, expected: Array) -> Array:
    return answered[name] if name in answered else np.empty((*expected.shape, 0), dtype=expected.dtype)


def _difference(errors: Mapping[str, float], expected: Tensors, answered: Tensors, values: Values) -> str:
    name = max(errors, key=lambda one: errors[one])
    if name not in answered:
        return f"output '{name}' is missing"
    want, got = expected[name], answered[name]
    if want.shape != got.shape or want.dtype != got.dtype:
        return f"output '{name}' is {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
    return f"output '{name}' is off by {errors[name]:.1e} with {values.name} values"


def _spans(many: Iterator[Sizes]) -> dict[str, tuple[int, int]]:
    points = list(many)
    return {dim: (min(p[dim] for p in points), max(p[dim] for p in points)) for dim in points[0]}


def _written(sizes: Mapping[str, int | tuple[int, int]]) -> str:
    parts = [f"{dim} {size if isinstance(size, int) else _span(size)}" for dim, size in sizes.items()]
    return ", ".join(parts) or "its only size"


def _span(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}…{ends[1]}"


def _label(session: Session) -> str:
    ran = session.ran
    return f"{ran.backend} {ran.version} {ran.provider} {ran.precision}"
