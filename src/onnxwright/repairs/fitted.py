"""What TensorRT refuses of a graph, replaced by operators that it has.

Each rewrite is a file of `graph/fitting/`, and answers to an operator or to words with which the parser or the builder
refuses a graph. One attempt takes all that answer at once: an engine that is built names every node that it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from onnxwright.repairs import SEPARATOR, GraphRepair, Seen
from onnxwright.routes import silence

if TYPE_CHECKING:
    import onnx_ir

_WRITTEN_IN: Final = 18
"""The opset of what the rewrites write."""


class Fitted(GraphRepair):
    """Rewrites what an engine that is built ahead of time doesn't take."""

    name = "fitted"
    summary = "replaces what TensorRT refuses by operators that it has"
    rank = 1.5

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the rewrites that answer what engines say, and were not made yet."""
        if not any(told.startswith("tensorrt") for told in seen.refusals):
            return
        from onnxwright.graph.fitting import fits

        made = seen.applied(self.name)
        answering = [name for name, one in fits().items() if name not in made and one.answers(seen.refusals)]
        if answering:
            yield SEPARATOR.join(answering)

    def details(self) -> Iterator[str]:
        """Lists the rewrites."""
        from onnxwright.graph.fitting import fits

        yield "\n".join(
            [
                "| rewrite | what it does |",
                "|---|---|",
                *(f"| `{name}` | {one.summary} |" for name, one in fits().items()),
            ]
        )

    def mend(self, model: onnx_ir.Model, argument: str) -> int:
        """Applies the rewrites named; a graph of an earlier opset than they are written in is converted first.

        Raises:
            UsageError: for one that is unknown.
            RouteError: when one breaks the graph, or it can't be converted.
        """
        from onnxwright.graph.fitting import apply_fits
        from onnxwright.graph.versions import convert_opset

        if model.opset_imports.get("", _WRITTEN_IN) < _WRITTEN_IN:
            with silence():
                convert_opset(model, _WRITTEN_IN)
        return apply_fits(model, argument.split(SEPARATOR))


REPAIR = Fitted()
