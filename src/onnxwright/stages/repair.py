"""The loop: an attempt, a proof, and where that shows less than everything, the next attempt.

```
  source ──► attempt ──► proof ──► everything shown? ──yes──► done
               ▲                            │ no
               └── repairs that answer it ◄─┘      and the next route
```
Attempts wait in the order in which they are worth trying: cheap ones first, then those that seldom help. None is made
twice, none where the evidence excludes it, and none with repairs when the time is up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from onnxwright.approach import Approach, Fix, parse
from onnxwright.errors import InterruptedConversion, ProofError
from onnxwright.findings import KINDS
from onnxwright.progress import Progress
from onnxwright.repairs import DECIDED, Repair, Seen, rank_of, repair, repairs
from onnxwright.routes import routes
from onnxwright.source import Source
from onnxwright.stages.attempt import EXPORT_SECONDS, GIVEN, Outcome, Workbench, attempt

_MOST_TOLD: Final = 3
_MOST_ATTEMPTS: Final = 24
_MOST_FIXES: Final = 4
_FREEZING: Final = 10.0
"""What a route ranks behind where the code decides by sizes, and it would keep what was decided."""
_UNROLLING: Final = 30.0
"""What a route ranks behind that has unrolled a loop, where nothing decides in its place."""
_LEAST_SECONDS: Final = 30.0
_MANIFOLD: Final = 4.0
"""How many times as long an export may take with one more repair, which may make several graphs of one."""
_LACKING: Final = 12.0
"""What an attempt ranks behind without a repair that another route has needed to give a graph at all."""

_ADDRESS: Final = re.compile(r"0x[0-9a-f]+")
_OPSETS: Final = (
    re.compile(r"[Ss]upport for this operator was added in version (\d+)"),
    re.compile(r"the exporter wrote opset (\d+)"),
    re.compile(r"official support for domain ai\.onnx is till opset (\d+)"),
)
"""What an exporter or an engine says where another opset would do."""


def repair_all(bench: Workbench, progress: Progress) -> list[Outcome]:
    """Makes attempts until one is shown right wherever the model itself answers, or nothing is left to try.

    Raises:
        InterruptedConversion: when Ctrl-C ends an attempt; the journal of those before comes with it.
    """
    outcomes: list[Outcome] = []
    waiting = _Waiting(bench)
    waiting.add(_first(bench))
    deadline = time.monotonic() + bench.request.repair_seconds
    for approach in waiting:
        is_late = time.monotonic() > deadline or len(outcomes) >= _MOST_ATTEMPTS
        if is_late and (approach.fixes or waiting.is_lacking(approach)):
            continue
        is_settled = any(one.is_complete for one in outcomes)
        if is_settled and approach.fixes and not any(repair(fix.repair).is_of_graphs for fix in approach.fixes):
            continue  # it does not suit an engine: only another route, or another graph, may suit it
        with progress.stage(str(approach)):
            try:
                left = deadline - time.monotonic()
                outcomes.append(attempt(bench, approach, seconds=most_seconds(approach, outcomes, left)))
            except KeyboardInterrupt as stop:
                raise InterruptedConversion(tuple(outcome.journal for outcome in outcomes)) from stop
            progress.note(f"{approach}: {outcomes[-1].journal.message}")
        wrong = [failure for proof in outcomes[-1].proofs.values() for failure in proof.failures]
        bench = replace(bench, refuted=(*bench.refuted, *wrong))
        if (outcomes[-1].is_complete and outcomes[-1].suits_all) or bench.request.replay is not None:
            break
        waiting.learn(outcomes)
        if not outcomes[-1].is_barren:
            waiting.add(_answers(bench, outcomes, is_idle=_was_idle(outcomes)))
    return outcomes


def most_seconds(approach: Approach, outcomes: Sequence[Outcome], left: float) -> float:
    """Returns how long an export may take: with repairs, half of what is left for them, so that another can follow.

    More, up to all that is left, where the export without its last repair is known to take long.
    """
    if not approach.fixes:
        return EXPORT_SECONDS
    without = replace(approach, fixes=approach.fixes[:-1])
    known = max((one.export_seconds for one in outcomes if one.approach == without), default=0.0)
    return min(EXPORT_SECONDS, max(_LEAST_SECONDS, left / 2, min(left, _MANIFOLD * known)))


def best(outcomes: Sequence[Outcome], source: Source) -> Outcome:
    """Returns the attempt with the widest proof.

    Raises:
        ProofError: when nothing was shown in any; the journal comes with it, and what was found of the source.
    """
    shown = [outcome for outcome in outcomes if outcome.is_shown]
    if not shown:
        journal = tuple(outcome.journal for outcome in outcomes)
        told = [f"  {outcome.approach}: {outcome.journal.message}" for outcome in outcomes]
        raise ProofError(
            "\n".join(
                ["no route gives a graph that is shown right; nothing was written.", *told, *_ways_out(outcomes)]
            ),
            findings=(*source.findings, *(found for entry in journal for found in entry.findings)),
            attempts=journal,
        )
    return max(shown, key=lambda outcome: outcome.extent)


def _ways_out(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Says what a person can do: at the lines that were found, and with the attempt that came nearest."""
    found = {one.where: one for outcome in outcomes[::-1] for one in outcome.journal.findings if one.where}
    in_the_way = [one for one in found.values() if one.blocks_proof or one.code in DECIDED][-_MOST_TOLD:]
    if in_the_way:
        yield "What you can do:"
    for one in in_the_way[::-1]:
        yield f"  {one.where}: {KINDS[one.code].remedy} `onnxwright explain {one.code}` says more."
    nearest = max(outcomes, key=lambda outcome: (bool(outcome.proofs), bool(outcome.journal.findings)))
    repro = ", and --save-repro DIR writes the first node that differs" if nearest.proofs else ""
    yield f'To see one attempt alone: --replay "{nearest.approach}"{repro}.'


class _Waiting:
    """Attempts that wait, the most promising first as far as is known by then; each comes once."""

    def __init__(self, bench: Workbench):
        self._frozen_rank = _FREEZING if bench.asked is not None and bench.asked.sizes else 0.0
        self._is_unrolled = False
        self._known: set[tuple[str, int, frozenset[Fix]]] = set()
        self._waiting: list[Approach] = []
        self._needed: set[str] = set()

    def add(self, approaches: Iterable[Approach]) -> None:
        """Takes attempts that were not made yet."""
        for approach in approaches:
            kind = approach.route, approach.opset, frozenset(approach.fixes)
            if kind not in self._known:
                self._known.add(kind)
                self._waiting.append(approach)

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Has ways wait that would unroll a loop again, and others with a repair without which no graph was shown."""
        *before, last = outcomes
        if any(found.code == "loop-unrolled" for found in last.journal.findings):
            self._is_unrolled = True
        for fix in last.approach.fixes if last.journal.verdict != "error" else ():
            without = replace(last.approach, fixes=tuple(one for one in last.approach.fixes if one != fix))
            if any(one.approach == without and one.journal.verdict == "error" for one in before):
                self._needed.add(fix.repair)
                self.add(
                    [one.mended(fix) for one in self._waiting if not one.fixes and repair(fix.repair).route is None]
                )

    def __iter__(self) -> Iterator[Approach]:
        while self._waiting:
            best = min(self._waiting, key=self._rank)
            self._waiting.remove(best)
            yield best

    def is_lacking(self, approach: Approach) -> bool:
        """Whether it is without a repair that another route has needed."""
        return any(not approach.has(name) for name in self._needed)

    def _rank(self, approach: Approach) -> float:
        rank = rank_of(approach.fixes)
        if approach.route == GIVEN:
            return rank
        route = routes()[approach.route]
        is_freezing = route.freezes_sizes and not any(self._decides(repair(fix.repair)) for fix in approach.fixes)
        frozen_rank = _UNROLLING if self._is_unrolled else self._frozen_rank
        rank += route.rank + (frozen_rank if is_freezing else 0.0)
        return rank + (_LACKING if self.is_lacking(approach) else 0.0)

    def _decides(self, one: Repair) -> bool:
        """Whether a repair decides what was found: pieces of the sizes are as many as a loop has rounds."""
        return one.decides and not (one.decides_by_pieces and self._is_unrolled)


def _first(bench: Workbench) -> Iterator[Approach]:
    request = bench.request
    if bench.source.graph is not None:
        given = Approach(GIVEN, bench.source.details.get("opset", request.opset))
        opset = request.wanted_opset
        yield given if opset is None else given.mended(Fix("versions", f"opset {opset}"))
    elif request.replay is not None:
        yield parse(request.replay)
    else:
        yield from (Approach(name, request.opset) for name in request.ladder())


def _answers(bench: Workbench, outcomes: Sequence[Outcome], *, is_idle: bool = False) -> Iterator[Approach]:
    """The attempts that answer what the last one has shown: one more repair, on the route where that works.

    None where its last repair was idle, but that what decides in operators may need what decides by pieces beside.
    """
    *before, outcome = outcomes
    approach = outcome.approach
    is_needy = not outcome.proofs and bool(approach.fixes) and repair(approach.fixes[-1].repair).decides
    if len(approach.fixes) >= _MOST_FIXES or (is_idle and not is_needy):
        return
    proof = outcome.proof if outcome.proofs else None
    earlier = tuple(found for one in before for found in one.journal.findings)
    journal, refusals = outcome.journal, tuple(outcome.refusals.values())
    others = tuple(one for one in outcome.proofs.values() if one is not proof)
    if approach.route != GIVEN and bench.request.wanted_opset is None:
        told = " ".join([journal.message, *refusals])
        opsets = (int(opset) for pattern in _OPSETS for opset in pattern.findall(told))
        yield from (replace(approach, opset=opset) for opset in opsets if opset in routes()[approach.route].opsets)
    seen = Seen(
        bench.source, approach, journal.message, journal.findings, proof, bench.asked, earlier, others, refusals
    )
    for name, one in repairs().items():
        route = one.route or approach.route
        if is_idle and not one.decides:
            continue
        if route not in (approach.route, *bench.request.ladder()) or (approach.route == GIVEN and not one.is_of_graphs):
            continue
        base = approach if route == approach.route else Approach(route, approach.opset, _undecided(approach.fixes))
        yield from (base.mended(Fix(name, argument)) for argument in one.proposals(seen))


def _was_idle(outcomes: Sequence[Outcome]) -> bool:
    """Whether the last repair has changed nothing that is known: what answers that waits without it.

    It has left everything that Python decides, and shows no more, nor do engines refuse anything else; or it has failed
    as was failed before it.
    """
    *before, last = outcomes
    without = replace(last.approach, fixes=last.approach.fixes[:-1])
    return bool(last.approach.fixes) and any(one.approach == without and _is_no_better(last, one) for one in before)


def _is_no_better(last: Outcome, one: Outcome) -> bool:
    if _decided(one) != _decided(last) or one.refusals != last.refusals:
        return False
    if not last.proofs:
        return not one.proofs and _ADDRESS.sub("", one.journal.message) == _ADDRESS.sub("", last.journal.message)
    return one.is_shown and one.extent >= last.extent


def _decided(outcome: Outcome) -> set[tuple[str, str | None]]:
    return {(one.code, one.where) for one in outcome.journal.findings if one.code in DECIDED}


def _undecided(fixes: Sequence[Fix]) -> tuple[Fix, ...]:
    """Repairs that help on another route too: not those that decide, which another is to do there."""
    return tuple(fix for fix in fixes if not repair(fix.repair).decides)
