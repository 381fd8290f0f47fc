"""Rewrites for engines that are built ahead of time, one a file, each offering `FIT`.

Each puts operators that TensorRT has in the place of those that it refuses, and answers to the words with which it
does. Unlike a rule, it makes nothing faster: it is done where a graph isn't taken without, and proven like any repair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import onnx_ir as ir

from onnxwright.discovery import offered
from onnxwright.errors import RouteError, UsageError, accepted
from onnxwright.graph.following import SIZES
from onnxwright.graph.passes import counting, guarded

_REFUSED: Final = re.compile(r"tensorrt\S* refuses (?:node '[^\n]*?' |operator )\((\w+)\)")


@dataclass(frozen=True)
class Fit:
    """A named rewrite: the operators that it takes out of a graph, or the words of a refusal that it answers.

    `change` rewrites a graph in place, and returns in how many places.
    """

    name: str
    summary: str
    change: Callable[[ir.Model], int]
    operators: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()

    def answers(self, refusals: Sequence[str]) -> bool:
        """Whether it can help where an engine says this."""
        told = [one for one in refusals if one.startswith("tensorrt")]
        return any(
            not self.operators.isdisjoint(_REFUSED.findall(one)) or any(word in one for word in self.words)
            for one in told
        )


def fits() -> dict[str, Fit]:
    """Returns every fit by name."""
    return cast(dict[str, Fit], offered(__name__, "FIT"))


def apply_fits(model: ir.Model, names: Iterable[str]) -> int:
    """Rewrites a graph in place by fits of these names, each behind the guard; returns in how many places.

    Raises:
        UsageError: for a name that no fit has.
        RouteError: when a fit breaks the graph.
    """
    known = fits()
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise UsageError(f"fit '{name}' is unknown; expected {accepted(name, known)}.")
    passes = [counting(name, known[name].summary, known[name].change) for name in wanted]
    made, trace = guarded(model, [SIZES, *passes])
    if trace.setbacks:
        raise RouteError("; ".join(f"fit '{one.step}': {one.message}" for one in trace.setbacks))
    count = sum(trace.steps.get(name, 0) for name in wanted)
    if count:
        model.graph = made.graph
        model.opset_imports.update(made.opset_imports)
    return count
