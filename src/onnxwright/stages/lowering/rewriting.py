"""A graph in a lower precision, rewritten for its engine: what comes of it is judged as the graph itself was."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from onnxwright.errors import EngineError
from onnxwright.manifest import Optimization, Proof
from onnxwright.rewrites import Lowered
from onnxwright.stages.lowering.candidates import calibrated
from onnxwright.stages.lowering.judging import class_of, held, judged
from onnxwright.stages.lowering.search import Search
from onnxwright.stages.lowering.tried import Tried, lost_of
from onnxwright.stages.rewriting import Refuted, rewritten
from onnxwright.stages.trials import Candidate, Trials, failing, shortfall, shows_as_much

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.backends import Session


class Faster(NamedTuple):
    """What is kept of a graph in a lower precision once it was rewritten, and what was tried for that."""

    kept: Tried
    proof: Proof
    record: Optimization | None = None


def faster(search: Search, kept: Tried, proof: Proof) -> Faster:
    """Rewrites what is to be kept, where that is asked for and the engine has a table of operators.

    What is only executed in a lower type is the graph as exported, and stays so.
    """
    from onnxwright.graph.saving import saved
    from onnxwright.graph.targets import TARGETS

    assert kept.lowered is not None, "it was made"
    model = kept.lowered.model
    if not search.bench.request.is_optimized or search.engine not in TARGETS or model is search.material.model:
        return Faster(kept, proof)
    with saved(model, search.file.name, search.bench.folder) as file:
        trials = Trials.of(search.bench, search.chosen, search.engine, file)
        trials = replace(trials, execution=kept.execution, fit=lambda session: search.fitted(session, model))
        subject = _Lower(search, kept, trials, model)
        found = rewritten(subject)
    if found.kept is None or found.proof is None:
        return Faster(kept, proof, found.record)
    return Faster(subject.judged[found.kept.plan.name], found.proof, found.record)


@dataclass(frozen=True)
class _Lower:
    """What a recipe made: what comes of it stays within the budget, and is shown as much of."""

    search: Search
    tried: Tried
    trials: Trials
    model: onnx_ir.Model
    called: str = "the graph as the recipe made it"
    judged: dict[str, Tried] = field(default_factory=dict)
    """What plans made of it, by their names, with what it loses."""

    @property
    def is_measured(self) -> bool:
        return self.search.is_measured

    def judge(self, one: Candidate, session: Session) -> Proof | Refuted:
        try:
            return self._judge(one, session)
        except EngineError as refusal:  # of what shows the type on every processor
            return Refuted(str(refusal), self._is_over_budget)

    def _judge(self, one: Candidate, session: Session) -> Proof | Refuted:
        search = self.search
        assert self.tried.lowered is not None, "it was made"
        found = calibrated(search, self.tried, Lowered(one.model, self.tried.lowered.kept))
        assert found.calibrated is not None, "it was loaded"
        if found.calibrated.amount > search.budget:
            told = f"{lost_of(found.calibrated, search.budget)} on the samples that it is made with."
            return Refuted(told, self._is_over_budget)
        found = judged(search, found, session)
        if found.message:
            return Refuted(found.message, self._is_over_budget)
        found = replace(found, errors=self.tried.errors)  # it is held to what the graph was held to
        proof = held(search, found, session)
        if not shows_as_much(proof, search.shown):
            return Refuted(shortfall(proof), failing(search.bench, search.chosen, proof, class_of(search, found)))
        self.judged[one.plan.name] = replace(found, latencies=())
        return proof

    def _is_over_budget(self, session: Session) -> bool:
        return self.search.loss(session) > self.search.budget

    def telling(self, session: Session, _: onnx_ir.Model) -> Session:
        return session
