"""What a graph is careless about: names given twice, the order of nodes, axes from the end, types and shapes untold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from onnxwright.repairs import GraphRepair, Seen

if TYPE_CHECKING:
    import onnx_ir

_TELLING: Final = (
    *(
        "Invalid attribute perm",
        "same node name",
        "Duplicate definition",
        "topologically sorted",
        "not output of any previous nodes",
    ),
    *("can't infer", "annot infer", "dynamic rank", "rank().is_static", "ShapeInferenceError", "required but missing"),
)


class Tidied(GraphRepair):
    """Names, orders and types a graph anew."""

    name = "tidied"
    summary = "gives names that are there twice anew, sorts nodes, and infers types and shapes"
    rank = 1.0

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where an engine or the checker names one of these."""
        told = " ".join([*seen.refusals, *(one.message for one in seen.findings if one.code == "invalid-graph")])
        if not seen.approach.has(self.name) and any(one in told for one in _TELLING):
            yield ""

    def mend(self, model: onnx_ir.Model, argument: str) -> int:  # noqa: ARG002 - there is but one way
        """Tidies the graph up."""
        from onnx_ir.passes import Sequential, common

        from onnxwright.graph.axes import counted_from_the_front

        passes = Sequential(
            common.TopologicalSortPass(),
            common.RemoveUnusedNodesPass(),
            common.NameFixPass(),
            common.LiftSubgraphInitializersToMainGraphPass(),
            common.ShapeInferencePass(),
        )
        turned = counted_from_the_front(model)
        return turned + int(passes(model).modified)


REPAIR = Tidied()
