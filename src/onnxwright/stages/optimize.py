"""Rewrites a graph for each engine, and keeps what is shown right and measured to be faster there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxwright.manifest import Optimization, Proof
from onnxwright.progress import Progress
from onnxwright.stages.attempt import Outcome, Workbench
from onnxwright.stages.rewriting import Refuted, rewritten
from onnxwright.stages.stepping import Stepping
from onnxwright.stages.trials import Candidate, Trials, failing, proven, shortfall, shows_as_much

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.backends import Session


@dataclass(frozen=True)
class Optimized:
    """What came of one engine: the record, and the graph with its proof where one was kept."""

    engine: str
    record: Optimization
    model: onnx_ir.Model | None = None
    proof: Proof | None = None


def optimize(bench: Workbench, chosen: Outcome, file: Path, progress: Progress) -> list[Optimized]:
    """Optimizes the graph in a file for each engine in which it was shown right, and that has a table of operators."""
    from onnxwright.graph.reading import read_model
    from onnxwright.graph.targets import TARGETS

    shown = [name for name, proof in chosen.proofs.items() if proof.verdict != "failed" and name in TARGETS]
    done = []
    for name in shown:
        with progress.stage(f"optimize for {name}"):
            found = rewritten(_AsExported(bench, chosen, Trials.of(bench, chosen, name, file), read_model(file)))
            kept = None if found.kept is None else found.kept.model
            done.append(Optimized(name, found.record, kept, found.proof))
            progress.note(f"{name}: {found.record.told}")
    return done


@dataclass(frozen=True)
class _AsExported:
    """The graph as exported: what comes of it is to be shown as much of."""

    bench: Workbench
    chosen: Outcome
    trials: Trials
    model: onnx_ir.Model
    called: str = "the graph as exported"

    @property
    def is_measured(self) -> bool:
        return self.bench.request.is_measured

    def judge(self, _: Candidate, session: Session) -> Proof | Refuted:
        proof = proven(self.bench, self.chosen, self.trials.engine, session)
        if shows_as_much(proof, self.chosen.proofs[self.trials.engine]):
            return proof
        return Refuted(shortfall(proof), failing(self.bench, self.chosen, proof))

    def telling(self, session: Session, model: onnx_ir.Model) -> Session:
        return Stepping(session, model, self.trials.prepared, self.trials.folder)
