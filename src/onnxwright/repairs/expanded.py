"""Operators that an engine lacks or computes wrongly, replaced by what ONNX defines them as.

ONNX defines many operators by others (`LayerNormalization` by means and roots), and a graph may define operators of its
own as functions. A node of such an operator is replaced by the nodes of its definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from onnxwright.repairs import SEPARATOR, GraphRepair, Seen

if TYPE_CHECKING:
    import onnx_ir

_LACKING: Final = (
    re.compile(r"Could not find an implementation for (\w+)"),
    re.compile(r"No Op registered for (\w+)"),
    re.compile(r"[\w.]*:(\w+)\(-?\d+\) is not a registered function/op"),
)
_REFUSED: Final = re.compile(r"tensorrt\S* refuses (?:node '[^\n]*?' |operator )\((\w+)\)")
_LISTED: Final = re.compile(r"No conversion rule found for operations: ([^\n]+)")
_ENTRY: Final = re.compile(r"(?:[\w.]+\.)?(\w+)(?:-\d+)?")


class Expanded(GraphRepair):
    """Puts definitions in the place of operators."""

    name = "expanded"
    summary = "replaces operators that an engine lacks or gets wrong by what ONNX or the graph defines them as"
    rank = 3.0

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the operators that engines say they lack, or the first that one gets wrong and another right."""
        done = seen.applied(self.name)
        named = (name for told in seen.refusals for name in (*_lacking(told), *_refused(told)))
        lacking = dict.fromkeys(name for name in named if name not in done)
        if lacking:
            yield SEPARATOR.join(lacking)
        if done:
            return
        # What another engine gets right is this one's fault, not the graph's.
        wrong = seen.others if seen.proof is not None and not seen.proof.failures else ()
        blamed = dict.fromkeys(proof.divergence.operator for proof in wrong if proof.divergence is not None)
        yield from (name for name in blamed if name and _is_defined(name))

    def mend(self, model: onnx_ir.Model, argument: str) -> int:
        """Expands the nodes of these operators."""
        from onnxwright.graph.expanding import expand

        return expand(model, argument.split(SEPARATOR))


def _refused(told: str) -> Iterator[str]:
    """Operators that TensorRT refuses, as far as a definition of them is known, or they aren't ONNX's."""
    from onnx import defs

    for name in _REFUSED.findall(told):
        if _is_defined(name) or not any(schema.name == name for schema in defs.get_all_schemas()):
            yield name


def _is_defined(operator: str) -> bool:
    """Whether ONNX defines an operator by others."""
    from onnx import defs

    schemas: list[Any] = [schema for schema in defs.get_all_schemas() if schema.name == operator]
    return any(schema.has_function or schema.has_context_dependent_function for schema in schemas)


def _lacking(told: str) -> Iterator[str]:
    for pattern in _LACKING:
        yield from pattern.findall(told)
    for listed in _LISTED.findall(told):
        yield from _ENTRY.findall(listed)


REPAIR = Expanded()
