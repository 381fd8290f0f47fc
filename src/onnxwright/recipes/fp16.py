"""float16: the graph in it, with islands in float32 where numbers would overflow or vanish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxwright.errors import FutileError
from onnxwright.recipes import Family, Material, reasons_of
from onnxwright.rewrites import Lowered

if TYPE_CHECKING:
    import onnx_ir


@dataclass(frozen=True)
class InFloats:
    """The graph in a lower type; what would overflow or vanish stays in float32."""

    name: str
    precision: str
    told: str
    is_common: bool = True
    executions: tuple[str, ...] = ("float32",)
    has_islands: bool = True
    is_calibrated: bool = True

    def refusal(self, engine: str) -> str | None:
        """Says why an engine can't gain from it."""
        if self.precision == "bfloat16" and engine == "onnxruntime":
            return "ONNX Runtime has hardly any operator in bfloat16 on the CPU."
        return None

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:
        """Lowers the graph as far as the samples show that it may be.

        Raises:
            FutileError: when no more is computed in the type than before.
        """
        from onnxwright.graph.precision.floats import computes_more_in, lowered

        keeps_io = not material.lowers_io or self.precision != "float16"  # numpy has no bfloat16
        found = lowered(material.model, self.precision, material.ranges, kept=kept, keeps_io=keeps_io)
        if not computes_more_in(found.model, self.precision, material.model):
            told = reasons_of(found) or "nothing of it is in float32"
            raise FutileError(f"nothing could be computed in {self.precision}: {told}.")
        return found

    def witness(self, model: onnx_ir.Model) -> onnx_ir.Model | None:
        """Returns a graph that rounds to float16 where it says so: engines without float16 compute it in float32."""
        from onnxwright.graph.precision.witnessing import witness

        return witness(model) if self.precision == "float16" else None

    def settings(self, material: Material) -> None:
        """None: what stays in float32 is found by islands."""


FAMILY = Family("fp16", (InFloats("fp16", "float16", "the graph in float16, with islands in float32"),))
