"""bfloat16: the graph as it is, which an engine executes in it, or the graph written in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxwright.recipes import Family, Material
from onnxwright.recipes.fp16 import InFloats
from onnxwright.rewrites import Lowered

if TYPE_CHECKING:
    import onnx_ir


_EXECUTING = "openvino"
"""The engine that executes float32 graphs in bfloat16 where it is told to."""


@dataclass(frozen=True)
class AsExecuted:
    """The graph as it is, executed in a lower type by the engine."""

    name: str
    precision: str
    told: str
    is_common: bool = True
    has_islands: bool = False
    is_calibrated: bool = False

    @property
    def executions(self) -> tuple[str, ...]:
        """The type alone."""
        return (self.precision,)

    def refusal(self, engine: str) -> str | None:
        """Says why an engine doesn't execute a graph in another type."""
        return None if engine == _EXECUTING else "it executes a graph in the types that are written in it."

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:  # noqa: ARG002 - nothing can be kept
        """Returns the graph as it is."""
        return Lowered(material.model, {})

    def witness(self, model: onnx_ir.Model) -> None:
        """None: the engine computes in what is written."""

    def settings(self, material: Material) -> None:
        """None: nothing can be left out."""


FAMILY = Family(
    "bf16",
    (
        AsExecuted("bf16-execution", "bfloat16", "the graph as exported, which the engine executes in bfloat16"),
        InFloats("bf16-graph", "bfloat16", "the graph in bfloat16, with islands in float32", is_common=False),
    ),
)
