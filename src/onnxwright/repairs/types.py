"""Casts where an exporter hands an operator a type that it doesn't take: whole numbers to `Not`, bools to `CumSum`."""

from __future__ import annotations

from collections.abc import Iterator

from onnxwright.errors import RouteError
from onnxwright.repairs import Exporter, Repair, Seen
from onnxwright.routes import Exported
from onnxwright.source import Source


class Types(Repair):
    """Casts inputs of operators to types that these take."""

    name = "types"
    summary = "casts what an exporter hands to operators that don't take its type"
    rank = 2.0
    depth = 0

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where an engine or the checker refuses the type of an input."""
        refused = [seen.message, *(found.message for found in seen.findings if found.code == "invalid-graph")]
        is_told = any("Type Error" in told or "unsupported type" in told for told in refused)
        if is_told and not seen.approach.has(self.name):
            yield ""

    def around(self, export: Exporter, argument: str) -> Exporter:  # noqa: ARG002 - there is but one way
        """Returns an export with casts in its graph."""
        from onnxwright.graph.element_types import mended_types

        def with_casts(source: Source) -> Exported:
            exported = export(source)
            if not mended_types(exported.model):
                raise RouteError("no input of a type that its operator doesn't take was found.")
            return exported

        return with_casts


REPAIR = Types()
