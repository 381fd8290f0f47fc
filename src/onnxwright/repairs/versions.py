"""A graph in the version of ONNX that an engine reads: its opset converted, or its IR version lowered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from onnxwright.errors import UsageError
from onnxwright.repairs import GraphRepair, Seen
from onnxwright.routes import silence

if TYPE_CHECKING:
    import onnx_ir

_OPSET: Final = re.compile(r"[Cc]urrent official support for domain ai\.onnx is till opset (\d+)")
_IR: Final = re.compile(r"Unsupported model IR version: \d+, max supported IR version: (\d+)")
_NEWEST: Final = 20
"""TensorRT reads later opsets without a word, and mistakes or lacks what is new in them."""
_ARGUMENT: Final = re.compile(r"(opset|ir) (\d+)")


class Versions(GraphRepair):
    """Converts a graph to another opset, or another IR version."""

    name = "versions"
    summary = "converts the graph to the opset or the IR version that an engine reads"
    rank = 1.0

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the newest version that an engine says it reads, or with which it was tried."""
        is_late = seen.approach.opset > _NEWEST and not seen.approach.has(self.name)
        if is_late and any(told.startswith("tensorrt") for told in seen.refusals):
            yield f"opset {_NEWEST}"
        for told in seen.refusals:
            for kind, pattern in (("ir", _IR), ("opset", _OPSET)):
                found = pattern.search(told)
                if found:
                    yield f"{kind} {found[1]}"

    def mend(self, model: onnx_ir.Model, argument: str) -> int:
        """Converts the graph.

        Raises:
            UsageError: when no version is named.
            RouteError: when an operator can't be converted.
        """
        from onnxwright.graph.versions import convert_opset

        found = _ARGUMENT.fullmatch(argument)
        if found is None:
            raise UsageError(f"repair 'versions': '{argument}' is no version; expected 'opset 18' or 'ir 10', say.")
        kind, version = found[1], int(found[2])
        if kind == "opset":
            with silence():
                return convert_opset(model, version)
        is_other = model.ir_version != version
        model.ir_version = version
        return int(is_other)


REPAIR = Versions()
