"""Weights in few bits, and everything computed in float32: smaller files, and less to read at each call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxwright.recipes import Family, Material, refuse_unchanged
from onnxwright.rewrites import Lowered

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.graph.precision.choosing import WeightsAlone

_WHOLE = 8

_REASONS = {
    "onnxruntime": "it turns such weights to float32 before it computes.",
    "openvino": "it has no operator for it.",
}


@dataclass(frozen=True)
class RoundedWeights:
    """Weights of products in few bits, written for one engine; blocks of 0 are whole columns."""

    name: str
    told: str
    engine: str
    bits: int
    block: int
    method: str
    is_common: bool = True
    has_islands: bool = False
    is_calibrated: bool = False

    @property
    def precision(self) -> str:
        """The type of the weights."""
        return f"int{self.bits}"

    @property
    def executions(self) -> tuple[str, ...]:
        """What the engine may compute in, which is the more the less it has to widen."""
        return ("float32", "bfloat16")

    def refusal(self, engine: str) -> str | None:
        """Says why an engine gains nothing from it."""
        return None if engine == self.engine else _REASONS.get(engine, f"it is written for {self.engine}.")

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:
        """Holds the weights of products in few bits.

        Raises:
            FutileError: when there are none that could be.
        """
        from onnxwright.graph.precision.weights import Rounding, with_quantized_weights

        form = "MatMulNBits" if self.engine == "onnxruntime" else "DequantizeLinear"
        how = Rounding(self.bits, self.block, self.method, form)
        found = with_quantized_weights(material.prepared, how, kept=kept)
        return refuse_unchanged(material.prepared, found, "no weight of a matrix product")

    def witness(self, model: onnx_ir.Model) -> None:
        """None: the engine computes in what is written."""

    def settings(self, material: Material) -> Mapping[str, WeightsAlone] | None:
        """What goes into the products whose weights are rounded; None where blocks are, of which no switch is made.

        What an engine makes of the activations isn't in the graph, and is judged when all is made.
        """
        from onnxwright.graph.precision.choosing import WeightsAlone

        if self.bits != _WHOLE or self.block:
            return None
        return {str(one.activation.name): WeightsAlone() for one in material.products if one.node.op_type != "Conv"}


FAMILY = Family(
    "weights",
    (
        RoundedWeights("int8-weights", "weights in int8, a scale for each column", "openvino", 8, 0, "rtn-symmetric"),
        RoundedWeights("int8-blocks", "weights in 8 bits, a scale for each 32 of them", "onnxruntime", 8, 32, "rtn"),
        RoundedWeights("int4-rtn", "weights in 4 bits, rounded to the nearest", "onnxruntime", 4, 32, "rtn"),
        RoundedWeights(
            "int4-hqq", "weights in 4 bits, with zeros that a half-quadratic solver finds", "onnxruntime", 4, 32, "hqq"
        ),
    ),
)
