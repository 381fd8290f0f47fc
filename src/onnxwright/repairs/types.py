"""Casts where an exporter hands an operator a type that it doesn't take: whole numbers to `Not`, bools to `CumSum`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnxwright.repairs import GraphRepair, Seen

if TYPE_CHECKING:
    import onnx_ir


class Types(GraphRepair):
    """Casts inputs of operators to types that these take."""

    name = "types"
    summary = "casts what an exporter hands to operators that don't take its type"
    rank = 2.0

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where an engine or the checker refuses the type of an input."""
        refused = [*seen.refusals, *(found.message for found in seen.findings if found.code == "invalid-graph")]
        is_told = any("Type Error" in told or "unsupported type" in told for told in refused)
        if is_told and not seen.approach.has(self.name):
            yield ""

    def mend(self, model: onnx_ir.Model, argument: str) -> int:  # noqa: ARG002 - there is but one way
        """Inserts casts."""
        from onnxwright.graph.element_types import mended_types

        return mended_types(model)


REPAIR = Types()
