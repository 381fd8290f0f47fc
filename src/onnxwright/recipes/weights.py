"""Weights in int8, and everything computed in float32: a file of a quarter of the size, and less to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxwright.errors import RouteError
from onnxwright.recipes import Family, Lowered, Material


@dataclass(frozen=True)
class ByColumn:
    """Weights of products in int8, with a scale for each place that comes out."""

    name: str
    told: str
    is_common: bool = True
    executions: tuple[str, ...] = ("float32", "bfloat16")
    precision: str = "int8"
    class_of: str = "quantized"

    def refusal(self, engine: str) -> str | None:
        """Says why an engine gains nothing from it."""
        return None if engine == "openvino" else "it turns such weights to float32 before it computes."

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:
        """Holds the weights of products in int8."""
        from onnxwright.graph.precision.integers import with_int8_weights

        if not material.products:
            raise RouteError("the graph has no product with constant weights.")
        return Lowered(with_int8_weights(material.prepared, kept=kept), kept)

    def settings(self, material: Material) -> None:  # noqa: ARG002 - as the protocol has it
        """None: what an engine makes of the activations isn't in the graph."""


FAMILY = Family("weights", (ByColumn("int8-weights", "weights in int8 by column, activations as the engine has them"),))
