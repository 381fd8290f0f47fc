"""Shows where candidates compute what the reference computes, and where they don't."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from onnxwright.backends import Session
from onnxwright.findings import Finding
from onnxwright.manifest import Failure, Proof, Verdict
from onnxwright.profile import Profile
from onnxwright.proof.bench import GIVEN, Bench, Key, Limit, Tally, key_of
from onnxwright.proof.box import Agrees, Box, clamped, contains, distance, largest_box, nearest
from onnxwright.proof.lattice import (
    Sizes,
    combinations,
    corners,
    ends,
    essential,
    grid,
    neighbours,
    resting,
    sweep,
    volume,
)
from onnxwright.reference import Reference
from onnxwright.samples import TYPICAL, Sampler
from onnxwright.tolerance import ToleranceClass
from onnxwright.words import in_sizes

BUDGETS: Final = {"quick": 5.0, "normal": 12.0, "thorough": 900.0}
"""Seconds for one proof, by name."""

_SWEEP_SHARE = 0.2
_EXHAUSTIVE_SHARE = 0.6
_ENDS_OVERTIME = 3.0
_MOST_ROUNDS = 40
_LEAST_ROUNDS = 10
"""By then an edge is found."""
_INSIDE = 8
_TOUCHING = 64
_MOST_LANDMARKS = 17
_LEAST_EACH = 3
_MOST_DIVISOR = 16
_LEAST_TOLD = 6
_LEAST_BY_CHANCE = 2


class Question(Protocol):
    """Something that is asked of sizes."""

    def holds(self, sizes: Mapping[str, int]) -> bool | None:
        """Whether it is true at given sizes; None where it can't be told."""


@dataclass(frozen=True)
class Plan:
    """What a proof is to cover: the profile, the sizes of the export, seconds and seed."""

    profile: Profile
    traced: Mapping[str, int]
    seconds: float = BUDGETS["normal"]
    seed: int = 0
    asked: tuple[Sizes, ...] = ()
    """Sizes on the other side of what the module's code asks of sizes."""
    questions: tuple[Question, ...] = ()
    """What it asks."""
    clock: Callable[[], float] = time.monotonic
    """What tells the seconds."""
    is_exhaustive: bool = False
    """Whether only all sizes together tell, in all combinations: most of the time goes into them then."""
    refuted: Sequence[Failure] = ()
    """Points at which other candidates for the same were wrong: a few of them are tried, whatever the time."""
    classes: Mapping[str, ToleranceClass] = field(default_factory=dict)
    """The candidates that compute in a lower type by design, and what they are held to: their limits are wider."""

    @property
    def whole(self) -> Box:
        """The whole profile as a box."""
        return {dim: (sizes.least, sizes.most) for dim, sizes in self.profile.items()}


def prove(reference: Reference, candidates: Mapping[str, Session], sampler: Sampler, plan: Plan) -> dict[str, Proof]:
    """Holds candidates against one reference over a lattice of sizes and values, and returns a proof for each.

    The range of a proof is the box of sizes in which every point that was tried agreed. Each end of each dim was
    tried; where the time did not allow a corner in which several dims are at their most, a finding says so.
    """
    bench = Bench(reference, candidates, sampler, plan.profile, Limit(plan.seconds, plan.clock))
    bench.hold_to(plan.classes)
    _try_lattice(bench, plan)
    boxes = _settle(bench, plan)
    return {name: _conclude(bench, name, session, boxes[name], plan) for name, session in candidates.items()}


def _settle(bench: Bench, plan: Plan) -> dict[str, Box | None]:
    """Finds the box of every candidate, until none finds another: what is tried for one is tried with all."""
    points = -1
    boxes: dict[str, Box | None] = {}
    while points != sum(tally.points for tally in bench.tallies.values()):
        points = sum(tally.points for tally in bench.tallies.values())
        boxes = {name: _find_box(bench, tally, plan) for name, tally in bench.tallies.items()}
        if all(_to_blame(tally, boxes[name]) for name, tally in bench.tallies.items()):
            # Nothing will be shown, whatever else is tried; what was tried for one candidate tells of all.
            return {name: _cut_by(bench, tally, plan, tally.has_agreed) for name, tally in bench.tallies.items()}
    return boxes


def _try_lattice(bench: Bench, plan: Plan) -> None:
    """Tries regimes of values, the ends of each dim, telling sizes from small to large, then all others in turn."""
    bench.try_regimes(resting(plan.profile), seed=plan.seed + 1)
    bench.try_given()
    for sizes in sorted(ends(plan.profile), key=volume):
        bench.try_affordable(sizes, overtime=_ENDS_OVERTIME)
    for sizes in sorted(plan.asked, key=volume):
        bench.try_affordable(sizes)
    telling = essential(plan.profile, plan.traced, seed=plan.seed)
    for sizes in sorted([*telling, *corners(plan.profile)], key=volume):
        bench.try_affordable(sizes)
    begun, share = plan.clock(), _EXHAUSTIVE_SHARE if plan.is_exhaustive else _SWEEP_SHARE
    singly = itertools.chain(neighbours(plan.profile), sweep(plan.profile))
    for sizes in itertools.chain(singly, combinations(plan.profile, seed=plan.seed)):
        if bench.is_over() or plan.clock() - begun > share * plan.seconds:
            break
        if not bench.is_tried(sizes) and not bench.is_too_late(sizes):
            bench.try_size(sizes)
    bench.try_again(plan.refuted)


def _conclude(bench: Bench, name: str, session: Session, box: Box | None, plan: Plan) -> Proof:
    tally = bench.tallies[name]
    assert box is None or not any(contains(box, one) for one in bench.failed(tally))
    bench.tell_hidden(tally)
    findings = [*bench.judge.findings, *_told(bench, tally, box, plan), *_wrong_values(tally, box, plan)]
    verdict = _verdict(tally, box, findings, plan)
    ran = session.ran
    return Proof(
        verdict=verdict,
        range=box if box is not None and verdict != "failed" else {},
        points=tally.points,
        worst=tally.worst_in(box),
        tolerance=bench.judge.tolerance(tally.held_to),
        reference=bench.reference_label,
        candidate=f"{ran.backend} {ran.version} {ran.provider} {ran.types}",
        sizes=tuple(tally.agreed.values()),
        failures=tuple(tally.failed.values()),
        refused=tuple(bench.sizes_of(key) for key in bench.refused),
        untried=tuple(sizes for sizes in bench.untried if not bench.is_tried(sizes)),
        findings=tuple(findings),
    )


def _find_box(bench: Bench, tally: Tally, plan: Plan) -> Box | None:
    """Cuts the box and tries what lies at its edges, until nothing new turns up."""
    box = _cut(bench, tally, plan)
    for count in range(_MOST_ROUNDS):
        if box is None or (count > _LEAST_ROUNDS and _to_blame(tally, box)):
            break
        fresh = [one for one in _at_edges(bench, tally, box, plan) if not _is_settled(bench, one)]
        for sizes in fresh:
            bench.try_affordable(sizes)
        landmarks = _landmarks(box, plan)
        is_new = [bench.try_regime(name, landmarks, tally) for name in tally.failing_regimes()]
        if not fresh and not any(is_new):
            break
        box = _cut(bench, tally, plan)
    return box


def _landmarks(box: Box, plan: Plan) -> list[Sizes]:
    """Where a regime of values that failed somewhere is tried again: the usual sizes and all corners of a box."""
    usual = clamped(box, plan.profile.usual)
    return [usual, *_corners(box)][:_MOST_LANDMARKS]


def _corners(box: Box) -> Iterator[Sizes]:
    return (dict(zip(box, corner, strict=True)) for corner in itertools.product(*box.values()))


def _is_settled(bench: Bench, sizes: Sizes) -> bool:
    return bench.is_tried(sizes) or sizes in bench.untried


def _cut(bench: Bench, tally: Tally, plan: Plan) -> Box | None:
    """Cuts the profile until nothing that failed is left in it, and tries what tells which dim is to blame."""

    def agrees(sizes: Mapping[str, int]) -> bool:
        bench.try_affordable(dict(sizes))
        return tally.has_agreed(sizes)

    return _cut_by(bench, tally, plan, agrees)


def _cut_by(bench: Bench, tally: Tally, plan: Plan, agrees: Agrees) -> Box | None:
    """Cuts the profile; what `agrees` says of a size tells which dim is to blame."""
    anchor = nearest(tally.agreed.values(), plan.profile.usual)
    if anchor is None:
        return None
    agreed = list(tally.agreed.values())
    wrong = [*bench.failed(tally), *_suspected(bench, tally, plan)]
    failed = sorted(wrong, key=lambda point: distance(point, anchor))
    return largest_box(_tried(bench, tally, plan), agreed, failed, anchor, agrees)


def _suspected(bench: Bench, tally: Tally, plan: Plan) -> list[Sizes]:
    """Sizes that were not tried, at which the code goes a way that it went nowhere where the candidate agreed.

    That is so where the answer to a question was had at no size that agreed; or the answers to all of them together,
    if they were had at one that failed.
    """
    found: dict[Key, Sizes] = {}
    agreed, failed = list(tally.agreed.values()), [failure.sizes for failure in tally.failed.values()]
    sizes = [*grid(plan.profile), *plan.asked]
    for question in plan.questions:
        unseen = {True, False}.difference(question.holds(one) for one in agreed)
        found.update({key_of(one): one for one in sizes if unseen and question.holds(one) in unseen})
    wrong = _answers(plan.questions, failed) - _answers(plan.questions, agreed)
    found.update({key_of(one): one for one in sizes if wrong and _answers(plan.questions, [one]) & wrong})
    return [one for one in found.values() if not bench.is_tried(one)]


def _answers(questions: Sequence[Question], many: Iterable[Sizes]) -> set[tuple[bool | None, ...]]:
    """The answers to some questions, together, that are had at sizes; none where one can't be told."""
    found = {tuple(question.holds(sizes) for question in questions) for sizes in many}
    return {answers for answers in found if None not in answers}


def _tried(bench: Bench, tally: Tally, plan: Plan) -> Box:
    """The profile, cut where time did not allow an end to be tried at all."""
    sizes = [bench.sizes_of(key) for key in (*tally.agreed, *tally.failed)]
    spans = {dim: (min(one[dim] for one in sizes), max(one[dim] for one in sizes)) for dim in plan.profile}
    assert all(plan.whole[dim][0] <= low and high <= plan.whole[dim][1] for dim, (low, high) in spans.items())
    return spans


def _at_edges(bench: Bench, tally: Tally, box: Box, plan: Plan) -> Iterator[Sizes]:
    """Yields what would show that a box is too large or too small.

    Sizes halfway between where it ends and where it is known to fail; where it touches what fails outside of it; its
    corners; some inside, and on each of its faces.
    """
    if box == plan.whole:
        return
    failed = bench.failed(tally)
    for dim in box:
        yield from _halfway(box, dim, [one for one in failed if contains({**box, dim: plan.whole[dim]}, one)])
    touching = sorted((clamped(box, point) for point in failed), key=volume)
    yield from touching[:: max(1, len(touching) // _TOUCHING)]
    yield from _corners(box)
    rng = np.random.default_rng([plan.seed, *(end for both in box.values() for end in both)])
    for _ in range(_INSIDE):
        inside = {dim: int(rng.integers(low, high, endpoint=True)) for dim, (low, high) in box.items()}
        yield inside
        yield from ({**inside, dim: end} for dim, ends_of in box.items() for end in ends_of)


def _halfway(box: Box, dim: str, failed: list[Sizes]) -> Iterator[Sizes]:
    low, high = box[dim]
    below = max((one for one in failed if one[dim] < low), key=lambda one: one[dim], default=None)
    above = min((one for one in failed if one[dim] > high), key=lambda one: one[dim], default=None)
    if below is not None:
        yield {**below, dim: (below[dim] + low) // 2}
    if above is not None:
        yield {**above, dim: (above[dim] + high + 1) // 2}


def _verdict(tally: Tally, box: Box | None, findings: list[Finding], plan: Plan) -> Verdict:
    if box is None or any(found.blocks_proof for found in findings):
        return "failed"
    inside = [sizes for sizes in tally.agreed.values() if contains(box, sizes)]
    can_leave = any(low != high for low, high in plan.whole.values())
    if can_leave and all(sizes == dict(plan.traced) for sizes in inside):
        return "failed"
    return "proven" if box == plan.whole else "partial"


def _wrong_values(tally: Tally, box: Box | None, plan: Plan) -> Iterator[Finding]:
    """Regimes of values that were wrong somewhere and not shown right in what is left: no range of sizes mends them."""
    landmarks = [key_of(sizes) for sizes in _landmarks(box, plan)] if box is not None else []
    at_landmarks = [name for name in tally.failing_regimes() if not _is_mended(tally.regimes[name], landmarks)]
    wrong = [name for name in dict.fromkeys([*at_landmarks, *_to_blame(tally, box)]) if name != GIVEN.name]
    if wrong:
        told = ", ".join(wrong[:-1]) + f" and {wrong[-1]}" if len(wrong) > 1 else wrong[0]
        is_wrong_inside = any(tally.regimes[name].get(key) is False for name in wrong for key in landmarks)
        is_everywhere = is_wrong_inside or box is None
        where = "and at no range shown right with them" if is_everywhere else "and no time was left to show where not"
        yield Finding("values-differ", f"Wrong with {told} values, {where}.")


def _to_blame(tally: Tally, box: Box | None) -> list[str]:
    """The regimes of values that are wrong whatever the size, by name."""
    regimes = (name for name in tally.failing_regimes() if name != GIVEN.name)
    return [name for name in regimes if _is_to_blame(tally, name, box)]


def _is_to_blame(tally: Tally, name: str, box: Box | None) -> bool:
    """Whether a regime fails where typical values don't, and is right there by chance: no size is to blame for that.

    Where sizes are to blame, the regime is right at hardly any of those that were cut off.
    """
    typical = tally.regimes.get(TYPICAL.name, {})
    told = {key: right for key, right in tally.regimes[name].items() if typical.get(key) and right is not None}
    outside = [right for key, right in told.items() if box is None or not _holds(box, key)]
    by_chance = outside.count(True) >= _LEAST_BY_CHANCE and 5 * outside.count(True) >= len(outside)
    mostly = len(told) >= _LEAST_TOLD and list(told.values()).count(False) > len(told) // 2
    return False in outside and (by_chance or mostly)


def _holds(box: Box, key: Key) -> bool:
    return contains(box, dict(zip(box, key, strict=True)))


def _is_mended(seen: Mapping[Key, bool | None], landmarks: Sequence[Key]) -> bool:
    """Whether a regime was right somewhere, and wrong at none of the landmarks of what is left."""
    return True in seen.values() and all(seen.get(key, False) is not False for key in landmarks)


def _told(bench: Bench, tally: Tally, box: Box | None, plan: Plan) -> Iterator[Finding]:
    if bench.refused:
        points = [bench.sizes_of(key) for key in bench.refused]
        spans = {dim: (min(one[dim] for one in points), max(one[dim] for one in points)) for dim in plan.profile}
        why = next(iter(bench.refused.values()))
        yield Finding("reference-refuses-size", f"The model itself refuses {in_sizes(spans)}: {why}")
    if tally.failed:
        first = next(iter(tally.failed.values()))
        count = f"{len(tally.failed)} of {len(tally.failed) + len(tally.agreed)} sizes"
        yield Finding("outputs-differ", f"Wrong at {count}, for example at {in_sizes(first.sizes)}: {first.message}.")
    if box is not None:
        yield from _scattered(tally, box)
    if box is not None and box != plan.whole:
        yield Finding("range-narrowed", f"Asked for {in_sizes(plan.whole)}; shown for {in_sizes(box)}.")
    if bench.untried_values:
        yield Finding("not-tried", f"Not tried, for lack of time: {', '.join(bench.untried_values)} values.")
    untried = [sizes for sizes in bench.untried if not bench.is_tried(sizes) and box is not None]
    inside = [sizes for sizes in untried if box is not None and contains(box, sizes)]
    if inside:
        yield Finding("not-tried", f"Not tried, for lack of time: {_largest(inside)}.")
    outside = [sizes for sizes in untried if sizes not in inside]
    if outside:
        yield Finding("not-tried", f"Outside of what is shown, not tried for lack of time: {_largest(outside)}.")


def _largest(many: list[Sizes]) -> str:
    more = f" and {len(many) - 3} more" if len(many) > 3 else ""
    return "; ".join(in_sizes(sizes) for sizes in sorted(many, key=volume)[-3:]) + more


def _scattered(tally: Tally, box: Box) -> Iterator[Finding]:
    """Says where failures lie between sizes that agree, so that no box could hold what is right."""
    wrong = [failure.sizes for failure in tally.failed.values() if failure.values == TYPICAL.name]
    for dim in box:
        failed = sorted(_alone(dim, wrong, box))
        agreed = sorted(_alone(dim, tally.agreed.values(), box))
        between = [size for size in failed if agreed and agreed[0] < size < agreed[-1]]
        islands = sum(one in agreed for one, size in itertools.pairwise(sorted({*agreed, *failed})) if size in failed)
        if between and islands > 1:
            rule = _remainders(failed, agreed)
            told = f"wherever {dim} {rule}" if rule else f"at {dim} {', '.join(map(str, between[:6]))} and others"
            yield Finding(
                "scattered-failures",
                f"Wrong {told}, between sizes that agree; only {dim} {box[dim][0]}…{box[dim][1]} is certain.",
            )


def _alone(dim: str, many: Iterable[Sizes], box: Box) -> set[int]:
    """Sizes of one dim at points that lie within a box in all the others."""
    others = {other: ends for other, ends in box.items() if other != dim}
    return {sizes[dim] for sizes in many if contains(others, sizes)}


def _remainders(failed: Sequence[int], agreed: Sequence[int]) -> str | None:
    """Says by which remainder the sizes that fail are told from those that agree, if by any."""
    if min(len(failed), len(agreed)) < _LEAST_EACH:
        return None
    for divisor in range(2, _MOST_DIVISOR + 1):
        wrong, right = {size % divisor for size in failed}, {size % divisor for size in agreed}
        if not wrong & right:
            if divisor == 2:
                return "is odd" if wrong == {1} else "is even"
            return f"leaves {', '.join(map(str, sorted(wrong)))} when divided by {divisor}"
    return None
