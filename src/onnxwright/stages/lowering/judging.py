"""What a candidate is judged by once it was made: samples that it wasn't made with, its neighbours, and the proof."""

from __future__ import annotations

from dataclasses import replace

from onnxwright.backends import Session
from onnxwright.manifest import Neighbours, Proof
from onnxwright.stages.lowering.scoring import batch_of
from onnxwright.stages.lowering.search import Search
from onnxwright.stages.lowering.tried import Tried, lost_of
from onnxwright.stages.trials import proven, shows_as_much
from onnxwright.tolerance import ToleranceClass, quantized


def judged(search: Search, one: Tried, session: Session) -> Tried:
    """A candidate with what it loses on the samples that it wasn't made with, and to its neighbours."""
    assert one.lowered is not None, "chosen among those that were made"
    sessions = (session, *search.witnesses(one.recipe, one.lowered.model))
    accuracy = max(map(search.scoring.judge, sessions), key=lambda found: found.amount)
    near = _beside_others(search, session)
    found = replace(one, judged=accuracy, neighbours=near)
    if accuracy.amount > search.budget:
        told = f"{lost_of(accuracy, search.budget)} on the samples that judge it."
        return replace(found, came="over budget", message=accuracy.message or told)
    if near is not None and (near.loss is None or near.loss > search.budget):
        told = "answers NaN or infinity" if near.loss is None else f"loses {near.loss:.2g}"
        return replace(found, came="over budget", message=f"a row {told}, depending on what else is in its batch.")
    return found


def _beside_others(search: Search, session: Session) -> Neighbours | None:
    source, request = search.bench.source, search.bench.request
    batch = batch_of(source, source.profile.within(search.shown.range), seed=request.seed)
    if batch is None:
        return None
    return search.scoring.neighbours(session, search.bench.reference.session, batch, search.budget)


def held(search: Search, one: Tried, session: Session) -> Proof:
    """The proof of a candidate, or of what shows on every processor what its type does, where that shows less."""
    assert one.lowered is not None, "chosen among those that were made"
    held_to = class_of(search, one)
    proof = proven(search.bench, search.chosen, search.engine, session, held_to)
    if shows_as_much(proof, search.shown):
        for witness in search.witnesses(one.recipe, one.lowered.model):
            other = proven(search.bench, search.chosen, search.engine, witness, held_to)
            if not shows_as_much(other, search.shown):
                return other
    return proof


def class_of(search: Search, one: Tried) -> ToleranceClass:
    """What a candidate is held to, by what it is off on the samples that calibrate."""
    return quantized(one.errors, search.material.decided)
