"""Branches whose answers differ in rank, which some engines refuse: the one that fits the declared rank stays.

Exporters write such an `If` where Python drops an axis only when its size is 1 (`squeeze`). Sizes at which the other
branch would be taken change the rank of an output; the proof tells whether any of the range do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnxwright.repairs import GraphRepair, Seen

if TYPE_CHECKING:
    import onnx_ir


class Ranks(GraphRepair):
    """Keeps the branch of the rank that is declared."""

    name = "ranks"
    summary = "keeps, of two branches whose answers differ in rank, the one of the declared rank"
    rank = 2.0

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where an engine refuses a value for its rank."""
        if not seen.approach.has(self.name) and any("rank" in told and "If" in told for told in seen.refusals):
            yield ""

    def mend(self, model: onnx_ir.Model, argument: str) -> int:  # noqa: ARG002 - there is but one way
        """Inlines these branches."""
        from onnxwright.graph.ranks import settle_ranks

        return settle_ranks(model)


REPAIR = Ranks()
