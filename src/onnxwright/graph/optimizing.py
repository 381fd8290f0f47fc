"""Plans: what a graph can go through for an engine, by name, as candidates for a measurement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import onnx_ir as ir

from onnxwright.graph.borrowed import borrowed
from onnxwright.graph.passes import Pass, guarded, operators
from onnxwright.graph.rules import rules
from onnxwright.graph.simplifying import SIMPLIFYING
from onnxwright.graph.targets import TARGETS, Target
from onnxwright.rewrites import Trace

_MOST_ROUNDS: Final = 20
"""A rule may make room for another; after so many rounds what is left to do isn't worth the time."""

_SIMPLE: Final = (
    *("chains", "reshapes", "unchanged", "gathered-whole", "sizes-once", "batched-transposes"),
    "needed-place",
)
_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "guarded-later": ("later-guard",),
    "unguarded": ("nan-guard",),
    "norms": ("gelu", "layer-norm", "rms-norm", "skip-norm", "biased-skip-norm", "bias-gelu"),
    "apart": ("gelu", "layer-norm", "rms-norm", "sums-apart"),
    "attention": ("batched-products", "rotary", "attention"),
    "grouped": ("rotary", "grouped-attention", "attention"),
    "native-attention": ("rotary", "native-attention"),
    "turned": ("rotary",),
    "merged": ("merged-products", "indexed-parts"),
    "packed": ("packed-attention",),
}
"""Rules that belong together, beside those that only make a graph simpler."""
_AIMS: Final = {"attention": "attention", "grouped": "grouped-attention", "native-attention": "native-attention"}
"""The rule of a part for the sake of which the others are there."""
_SEEN_BY: Final = {
    **dict.fromkeys(("guarded-later", "unguarded"), "IsNaN"),
    **dict.fromkeys(("attention", "grouped", "native-attention", "packed"), "Softmax"),
    "turned": "Neg",
}
"""An operator without which the rules of a part find nothing."""
_PLANS: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("norms",),
    ("guarded-later", "norms", "attention"),
    ("guarded-later", "norms", "attention", "merged"),
    ("guarded-later", "norms", "attention", "merged", "packed"),
    ("apart",),
    ("apart", "turned", "merged"),
    ("guarded-later", "apart", "attention", "merged"),
    ("guarded-later", "apart", "attention", "merged", "packed"),
    ("unguarded", "norms"),
    ("unguarded", "merged"),
    ("unguarded", "apart", "merged"),
    ("unguarded", "apart", "turned", "merged"),
    ("unguarded", "norms", "attention"),
    ("unguarded", "norms", "attention", "merged"),
    ("unguarded", "norms", "attention", "merged", "packed"),
    ("unguarded", "apart", "attention", "merged"),
    ("unguarded", "apart", "attention", "merged", "packed"),
    ("unguarded", "norms", "grouped", "merged"),
    ("unguarded", "apart", "grouped", "merged"),
    ("unguarded", "norms", "native-attention"),
)


class Step(NamedTuple):
    """A rule, or no more than what it rewrites at a node."""

    rule: str
    node: str | None = None

    def __str__(self) -> str:
        return self.rule if self.node is None else f"{self.rule} at {self.node}"


@dataclass(frozen=True)
class Plan:
    """A candidate: an optimizer of another library, if any, then rules, until nothing changes any more.

    A rule leaves the nodes alone that are `spared` from it.
    """

    name: str
    rules: tuple[str, ...]
    borrowed: str | None = None
    spared: tuple[Step, ...] = ()

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The rules that are right only under a condition that the graph doesn't show."""
        return tuple(name for name in self.rules if rules()[name].needs_proof)

    @property
    def is_simple(self) -> bool:
        """Whether it only makes a graph simpler."""
        return self.borrowed is None and set(self.rules) <= set(_SIMPLE)

    def can_spare(self, name: str) -> bool:
        """Whether one of its rules can leave the graph alone at a node, and still rewrite the rest."""
        return rules()[name].can_spare

    def without(self, steps: Sequence[Step]) -> Plan:
        """Returns it without some of its rules, or without what they rewrite at some nodes."""
        left_out = {step.rule for step in steps if step.node is None}
        return replace(
            self,
            name=f"{self.name} without {', '.join(map(str, steps))}",
            rules=tuple(name for name in self.rules if name not in left_out),
            spared=(*self.spared, *(step for step in steps if step.node is not None)),
        )


def simplified(model: ir.Model) -> ir.Model:
    """Returns what only makes a graph simpler makes of it; the model that is given stays as it is."""
    return apply(model, Plan("simplified", _SIMPLE), TARGETS["onnxruntime"])[0]


def plans(model: ir.Model, target: Target) -> tuple[Plan, ...]:
    """Returns the plans that have something to offer for a graph and an engine, the most cautious first."""
    return tuple(_plans(model, target))


def apply(model: ir.Model, plan: Plan, target: Target) -> tuple[ir.Model, Trace]:
    """Returns what a plan makes of a graph for an engine, and how; the model that is given stays as it is."""
    first = Trace()
    if plan.borrowed is not None:
        model, first = guarded(model, [borrowed()[plan.borrowed].as_pass()])
    made, then = guarded(model, _passes(model, plan, target), rounds=_MOST_ROUNDS)
    return made, first.and_then(then)


def apply_all(model: ir.Model, chosen: Sequence[Plan], target: Target) -> Iterator[tuple[Plan, ir.Model, Trace]]:
    """Yields what each of some plans makes of a graph, and how; what makes it simpler, they do once together."""
    simple, first = apply(model, Plan("simplified", _SIMPLE), target)
    for plan in chosen:
        if plan.borrowed is not None or not set(_SIMPLE) <= set(plan.rules):
            yield plan, *apply(model, plan, target)
        elif plan.is_simple:
            yield plan, simple, first
        else:
            made, then = apply(simple, plan, target)
            yield plan, made, first.and_then(then)


def _plans(model: ir.Model, target: Target) -> Iterator[Plan]:
    present = operators(model)
    named: dict[tuple[str, ...], Plan] = {}
    for parts in _PLANS:
        offered = {part: _offered(part, model, target) for part in parts if _SEEN_BY.get(part, "") in {"", *present}}
        made = (*_SIMPLE, *(name for names in offered.values() for name in names))
        name = "+".join(("simplified", *(part for part, names in offered.items() if names)))
        named.setdefault(made, Plan(name, made))
    yield from named.values()
    for name, one in borrowed().items():
        if target.name in one.targets:
            yield Plan(name, _SIMPLE, borrowed=name)


def _offered(part: str, model: ir.Model, target: Target) -> list[str]:
    """Those rules of a part that write something that an engine takes; none without the one that they are for."""
    taken = [name for name in _PARTS[part] if rules()[name].for_target(target, model.opset_imports) is not None]
    return taken if _AIMS.get(part, "") in {"", *taken} else []


def _passes(model: ir.Model, plan: Plan, target: Target) -> list[Pass]:
    made = [_pass(name, model, plan, target) for name in plan.rules]
    return [*SIMPLIFYING, *(one for one in made if one is not None)]


def _pass(name: str, model: ir.Model, plan: Plan, target: Target) -> Pass | None:
    spared = {step.node for step in plan.spared if step.rule == name and step.node is not None}
    return rules()[name].for_target(target, model.opset_imports, spared=spared)
