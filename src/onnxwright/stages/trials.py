"""Candidates for an engine, loaded a few at a time and measured beside the graph as it was exported.

That graph is loaded twice, and measured against itself meanwhile: what differs there is no difference. A candidate is
faster, or slower, only where the interval of its speed-up lies beyond that of the graph against itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from onnxwright import backends, environment
from onnxwright.backends import Options, Session
from onnxwright.errors import EngineError
from onnxwright.manifest import Latency, Proof
from onnxwright.proof.prove import prove
from onnxwright.proof.replay import Replay
from onnxwright.stages import measure as measuring
from onnxwright.stages.attempt import Outcome, Workbench
from onnxwright.stages.examine import plan_of
from onnxwright.tolerance import SAME_PRECISION, ToleranceClass
from onnxwright.words import in_sizes

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.graph.optimizing import Plan
    from onnxwright.rewrites import Trace

_GIVEN: Final = "as exported"
CONTROL: Final = "as exported, again"
_SECONDS: Final = 20.0
"""For the measurement of all plans of an engine."""
_LEAST_GAIN: Final = 1.02
"""A plan that gains less over all sizes isn't worth a file."""
_COPIES: Final = 3
"""So often an engine may hold the weights while it loads a graph."""
AT_ONCE: Final = 4
"""So many candidates are in memory at a time, beside the graph as exported, twice."""


@dataclass(frozen=True)
class Candidate:
    """What a plan made of a graph, and what is known of it so far.

    `control` is how the graph as exported compared with itself when this was measured. `wrong` says why it was not
    shown right; `rolled_back` are rules of the plan, or `RULE at NODE`, that were to blame for that.
    """

    plan: Plan
    model: onnx_ir.Model
    trace: Trace
    latencies: tuple[Latency, ...] = ()
    control: tuple[Latency, ...] = ()
    refusal: str = ""
    wrong: str = ""
    rolled_back: tuple[str, ...] = ()
    has_room: bool = True

    @property
    def nodes(self) -> int:
        """How many nodes the graph has."""
        return sum(self.trace.after.values())

    @property
    def gain(self) -> float:
        """The geometric mean of the speed-ups over all sizes."""
        return measuring.mean_speedup(self.latencies)

    @property
    def is_worth_it(self) -> bool:
        """Whether it was measured to be faster, by enough to be worth a file."""
        return is_worth_it(self.latencies, self.control)


def is_worth_it(latencies: Sequence[Latency], control: Sequence[Latency]) -> bool:
    """Whether something is faster at a size, slower at none, and gains enough over all of them to be worth a file."""
    compared = [beyond(one, same) for one, same in zip(latencies, control, strict=True)]
    return "faster" in compared and "slower" not in compared and measuring.mean_speedup(latencies) >= _LEAST_GAIN


def beyond(latency: Latency, control: Latency) -> Literal["faster", "slower"] | None:
    """Whether one is faster or slower than it would be if it were the same; None where that can't be told."""
    low, high = control.speedup_interval
    if latency.speedup_interval[0] > max(high, 1.0):
        return "faster"
    return "slower" if latency.speedup_interval[1] < min(low, 1.0) else None


def told_speed(
    latencies: Sequence[Latency], control: Sequence[Latency]
) -> Literal["not the fastest", "slower", "no faster"]:
    """What is said of something by its speed alone, where another one is kept or none is."""
    if is_worth_it(latencies, control):
        return "not the fastest"
    is_slower = any(beyond(*pair) == "slower" for pair in zip(latencies, control, strict=True))
    return "slower" if is_slower else "no faster"


def proven(
    bench: Workbench, chosen: Outcome, engine: str, session: Session, held_to: ToleranceClass = SAME_PRECISION
) -> Proof:
    """Holds what was made of a graph against the reference, as the graph was, to the limits of a class."""
    source, request = chosen.source or bench.source, bench.request
    plan = plan_of(source, bench.asked, proof=request.proof, seed=request.seed)
    plan = replace(plan, classes={engine: held_to})
    return prove(bench.reference, {engine: session}, source.sampler, plan)[engine]


def failing(
    bench: Workbench, chosen: Outcome, proof: Proof, held_to: ToleranceClass = SAME_PRECISION
) -> Callable[[Session], bool] | None:
    """What tells whether another candidate is wrong where a proof failed; None where no point can be drawn again."""
    source = chosen.source or bench.source
    replay = Replay(bench.reference, source.sampler, source.profile, proof.failures, held_to=held_to)
    return None if replay.is_empty else replay.fails


def shows_as_much(proof: Proof, shown: Proof) -> bool:
    """Whether a proof shows as much as that of the graph as exported."""
    return proof.verdict != "failed" and proof.extent >= shown.extent


def shortfall(proof: Proof) -> str:
    """Says why a proof shows less than is asked for."""
    told = [found.message for found in proof.findings if found.code in {"outputs-differ", "values-differ"}]
    if told:
        return " ".join(told)
    most = in_sizes({dim: high for dim, (_, high) in proof.range.items()})
    is_late = any(found.code == "not-tried" for found in proof.findings)
    return f"shown for {most} at most{', for lack of time' if is_late else ''}."


def as_it_is(session: Session) -> Session:
    """Returns a session that callers know as it is."""
    return session


@dataclass
class Trials:
    """An engine, and a graph in it, loaded when it is first needed and once only."""

    engine: str
    file: Path
    folder: Path
    """Where graphs are written for the engine to load."""
    feeds: Sequence[measuring.Shape] = ()
    """What is measured."""
    seed: int = 0
    allows_fallback: bool = False
    execution: str = "float32"
    """The type in which the engine executes what is in float32."""
    fit: Callable[[Session], Session] = as_it_is
    """What makes of a session one that callers know."""
    _given: dict[str, Session] = field(default_factory=dict)

    @classmethod
    def of(cls, bench: Workbench, chosen: Outcome, engine: str, file: Path) -> Trials:
        """Measures over the range that the graph as exported was shown right for, as the request asks."""
        request = bench.request
        feeds = measuring.drawn(bench.source, chosen.proofs[engine].range, seed=request.seed)
        return cls(engine, file, bench.folder, feeds, request.seed, allows_fallback=request.allows_fallback)

    def prepared(self, file: Path) -> Session:
        """Loads a file into the engine; what is to be float32 in and out is so for callers.

        Raises:
            EngineError: when the engine refuses it.
        """
        options = Options(environment.cores(), self.execution, allows_fallback=self.allows_fallback)
        return self.fit(backends.engine(self.engine).prepare(file, options))

    def loaded(self, one: Candidate) -> tuple[Candidate, Session | None]:
        """Loads a candidate into the engine; where that refuses it, or lacks the memory, the candidate says so."""
        if not self._has_room():
            return replace(one, has_room=False), None
        from onnxwright.graph.saving import saved

        with saved(one.model, self.file.name, self.folder) as file:
            try:
                return replace(one, has_room=True), self.prepared(file)
            except EngineError as refusal:
                return replace(one, refusal=str(refusal)), None

    def measured(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Returns candidates with how they compare with the graph as exported, a few in memory at a time."""
        groups = [candidates[start : start + AT_ONCE] for start in range(0, len(candidates), AT_ONCE)]
        seconds = {len(group): _SECONDS * len(group) / max(len(candidates), AT_ONCE) for group in groups}
        return [one for group in groups for one in self._compared(group, seconds[len(group)])]

    def _compared(self, group: Sequence[Candidate], seconds: float) -> Iterator[Candidate]:
        tried = [self._answering(*self.loaded(one)) for one in group]
        sessions = {one.plan.name: session for one, session in tried if session is not None}
        found = self.latencies(sessions, seconds) if sessions else {}
        for one, _ in tried:
            name = one.plan.name
            yield replace(one, latencies=found[name], control=found[CONTROL]) if name in found else one

    def _answering(self, one: Candidate, session: Session | None) -> tuple[Candidate, Session | None]:
        """A loaded candidate that answers what is measured; some engines refuse a graph no sooner than it runs."""
        if session is None:
            return one, None
        try:
            for _, feeds in self.feeds:
                session.run(feeds)
        except EngineError as refusal:
            return replace(one, refusal=str(refusal)), None
        return one, session

    def latencies(self, sessions: Mapping[str, Session], seconds: float) -> dict[str, tuple[Latency, ...]]:
        """Measures sessions by name beside the graph as exported, and that beside itself, which is called `CONTROL`."""
        for name in (_GIVEN, CONTROL):
            if name not in self._given:
                self._given[name] = self.prepared(self.file)
        plan = measuring.Plan(seconds=seconds, seed=self.seed)
        found = measuring.measure({**self._given, **sessions}, self.feeds, baseline=_GIVEN, plan=plan)
        return {name: one.latencies for name, one in found.items()}

    def _has_room(self) -> bool:
        """Whether one more copy of the weights fits into memory, and what an engine makes of them."""
        size = sum(file.stat().st_size for file in self.file.parent.iterdir())
        free = environment.free_memory()
        return free is None or free > _COPIES * size
