"""Operators that an engine doesn't have for a type, computed in one for which it has them, with casts around.

Half-precision numbers become float32, small whole numbers and bools int64: neither loses anything. What answers in the
type is cast back. An engine that lacks one operator for bfloat16 lacks nearly all: then the whole graph computes in
float32 what it would in bfloat16.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from onnxwright.repairs import SEPARATOR, GraphRepair, Seen

if TYPE_CHECKING:
    import onnx_ir

_LACKING: Final = (
    re.compile(r"Could not find an implementation for (\w+)"),
    re.compile(r"of operator \((\w+)\) in node .* is invalid"),
    re.compile(r"No Op registered for (\w+)"),
)


class Widened(GraphRepair):
    """Computes operators in a wider type."""

    name = "widened"
    summary = "computes operators that an engine lacks for a narrow type in a wider one"
    rank = 2.5

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the operators that engines say they lack."""
        done = seen.applied(self.name)
        named = dict.fromkeys(
            name for told in seen.refusals for pattern in _LACKING for name in pattern.findall(told) if name not in done
        )
        if named:
            yield SEPARATOR.join(named)

    def mend(self, model: onnx_ir.Model, argument: str) -> int:
        """Inserts the casts."""
        import onnx_ir

        from onnxwright.graph.element_types import widen
        from onnxwright.graph.typed import infer_types
        from onnxwright.graph.widening import without_halves

        operators = argument.split(SEPARATOR)
        infer_types(model)
        given = {
            value.dtype
            for node in model.graph.all_nodes()
            if node.op_type in operators
            for value in node.inputs
            if value
        }
        is_whole = onnx_ir.DataType.BFLOAT16 in given and without_halves(model, {onnx_ir.DataType.BFLOAT16})
        return int(is_whole) + widen(model, operators)


REPAIR = Widened()
