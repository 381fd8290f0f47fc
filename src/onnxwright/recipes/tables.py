"""Tables of embeddings in a smaller type: a smaller file, and nothing else computed otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxwright.recipes import Family, Material, refuse_unchanged
from onnxwright.rewrites import Lowered

if TYPE_CHECKING:
    import onnx_ir


@dataclass(frozen=True)
class CompactTables:
    """Tables stored in a smaller type; a row is widened after it was looked up."""

    name: str
    precision: str
    told: str
    is_common: bool = False
    has_islands: bool = False
    is_calibrated: bool = False
    executions: tuple[str, ...] = ("float32",)

    def refusal(self, engine: str) -> None:
        """None: every engine has the operators."""

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:
        """Stores the tables in the type.

        Raises:
            FutileError: when there are none that could be.
        """
        from onnxwright.graph.precision.tables import with_compact_tables

        found = with_compact_tables(material.model, self.precision, kept=kept)
        return refuse_unchanged(material.model, found, "no table of embeddings")

    def witness(self, model: onnx_ir.Model) -> None:
        """None: it is computed in float32."""

    def settings(self, material: Material) -> None:
        """None: no product is changed."""


FAMILY = Family(
    "tables",
    (
        CompactTables("fp16-tables", "float16", "tables of embeddings stored in float16"),
        CompactTables("int8-tables", "int8", "tables of embeddings stored in int8, a scale for each row"),
    ),
)
