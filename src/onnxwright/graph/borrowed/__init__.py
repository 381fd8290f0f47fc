"""Optimizers of other libraries as passes, behind the same guard: one a file, each offering `BORROWED`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import onnx_ir as ir

from onnxwright.discovery import offered
from onnxwright.graph.passes import Pass


@dataclass(frozen=True)
class Borrowed:
    """An optimizer of another library: the engines that it writes for, and its pass, which changes a graph in place."""

    name: str
    summary: str
    targets: frozenset[str]
    change: Callable[[ir.Model], int]

    def as_pass(self) -> Pass:
        """Returns it as a pass."""
        return Pass(self.name, self.summary, lambda model, _: self._changed(model))

    def _changed(self, model: ir.Model) -> int:
        """Changes a graph and forgets the shapes inside of it, some of which may be those of other values by then."""
        count = self.change(model)
        for node in model.graph.all_nodes():
            for value in node.outputs:
                value.shape = value.shape if value.is_graph_output() else None
        return count


def borrowed() -> dict[str, Borrowed]:
    """Returns every borrowed optimizer by name."""
    return cast(dict[str, Borrowed], offered(__name__, "BORROWED"))


def take_over(model: ir.Model, other: ir.Model) -> int:
    """Makes a model hold another's graph and functions, and returns how many nodes it has fewer, at least 1."""
    before = model.graph.num_nodes()
    model.graph = other.graph
    model.functions.clear()
    model.functions.update(other.functions)
    return max(1, before - model.graph.num_nodes())
