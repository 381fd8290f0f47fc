"""Plans: which passes a graph can go through for an engine, by name, as candidates for a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from onnxwright.graph.passes import Pass, guarded, operators
from onnxwright.graph.rules import rules
from onnxwright.graph.simplifying import SIMPLIFYING
from onnxwright.graph.targets import Target
from onnxwright.rewrites import Trace

_MOST_ROUNDS: Final = 6
"""A rule may make room for another; after so many rounds what is left to do isn't worth the time."""


@dataclass(frozen=True)
class Plan:
    """A named candidate: rules by name, in order, which are applied until nothing changes any more."""

    name: str
    rules: tuple[str, ...]
    borrowed: str | None = None
    needs_proof: bool = False


def apply(model: ir.Model, plan: Plan, target: Target) -> tuple[ir.Model, Trace]:
    """Returns what a plan makes of a graph for an engine, and how; the model that is given stays as it is."""
    counts = operators(model)
    trace = Trace(before=counts, after=counts)
    for _ in range(_MOST_ROUNDS):
        model, step = guarded(model, _passes(model, plan, target))
        trace = trace.and_then(step)
        if not step.steps:
            break
    return model, trace


def _passes(model: ir.Model, plan: Plan, target: Target) -> list[Pass]:
    known = rules()
    made = [known[name].for_target(target, model.opset_imports) for name in plan.rules]
    return [*SIMPLIFYING, *(one for one in made if one is not None)]
