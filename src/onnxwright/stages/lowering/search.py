"""One search: an engine, the graph as exported, the samples, the budget, and the time for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxwright import backends, environment
from onnxwright.backends import Options, Session
from onnxwright.casting import fitted
from onnxwright.errors import EngineError
from onnxwright.manifest import Proof
from onnxwright.proof.bench import telling
from onnxwright.recipes import AUTO, Material, Recipe
from onnxwright.stages.attempt import Outcome, Workbench
from onnxwright.stages.lowering.scoring import Scoring
from onnxwright.stages.lowering.tried import Tried

if TYPE_CHECKING:
    import onnx_ir


@dataclass(frozen=True)
class Search:
    """What candidates for an engine are made of, and what they are held to."""

    bench: Workbench
    chosen: Outcome
    file: Path
    engine: str
    scoring: Scoring
    budget: float
    deadline: float
    material: Material

    @property
    def shown(self) -> Proof:
        """The proof of the graph as exported, in this engine."""
        return self.chosen.proofs[self.engine]

    @property
    def is_auto(self) -> bool:
        """Whether the fastest is looked for, and not one that is named."""
        return self.bench.request.precision == AUTO

    @property
    def is_measured(self) -> bool:
        """Whether candidates are measured."""
        return self.bench.request.is_measured

    def loss(self, session: Session) -> float:
        """What a session loses on the samples that calibrate."""
        return self.scoring.calibrate(session)[0].amount

    def having_seen(self, proof: Proof) -> Search:
        """The same search with the points at which a proof failed as samples to calibrate by."""
        sampler = (self.chosen.source or self.bench.source).sampler
        points = telling(sampler, proof.failures)
        feeds = [sampler.draw(failure.sizes, values, seed=failure.seed) for failure, values in points]
        return replace(self, material=self.material.having_seen(feeds)) if feeds else self

    def prepared(self, model: onnx_ir.Model, execution: str) -> tuple[Session, int]:
        """Loads a graph into the engine; returns how large its file is, too.

        Raises:
            EngineError: when the engine refuses it.
        """
        from onnxwright.graph.saving import saved

        self.bench.reference.rest()
        with saved(model, self.file.name, self.bench.folder) as file:
            size = sum(one.stat().st_size for one in file.parent.iterdir())
            options = Options(environment.cores(), execution, allows_fallback=self.bench.request.allows_fallback)
            session = backends.engine(self.engine).prepare(file, options)
            return self.fitted(_refuse_another(session, execution), model), size

    def loaded(self, one: Tried) -> Session:
        """Loads once more what a recipe has made."""
        assert one.lowered is not None, "chosen among those that were made"
        return self.prepared(one.lowered.model, one.execution)[0]

    def witnesses(self, recipe: Recipe, model: onnx_ir.Model) -> Iterator[Session]:
        """Yields what shows on every processor what a recipe's type does, where the engine doesn't."""
        seen = recipe.witness(model)
        if seen is not None:
            yield self.fitted(self.material.load(seen, is_optimized=False), seen)

    def fitted(self, session: Session, model: onnx_ir.Model) -> Session:
        """The session of a graph as callers know it, whatever type the graph has in and out."""
        from onnxwright.graph.boundary import float_type

        signature = self.bench.source.signature
        return fitted(session, signature, float_type(model, signature))


def _refuse_another(session: Session, execution: str) -> Session:
    """Refuses an engine that executes in another type than it was told to."""
    if execution != "float32" and session.ran.precision not in {execution, "int8"}:
        raise EngineError(f"it was told to execute in {execution}, and executes in {session.ran.precision}.")
    return session
