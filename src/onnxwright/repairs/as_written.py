"""Quantized operators computed as the graph has them, where an engine makes operators in whole numbers of them.

ONNX Runtime takes `DequantizeLinear`, a product and `QuantizeLinear` for one product of whole numbers, and rounds
biases to steps too; OpenVINO does alike. Their answers lie some steps from those of the graph. The graph gets a
property in its metadata that names the engines in which sessions of onnxwright run it without that (ONNX Runtime's
`session.disable_quant_qdq`, OpenVINO's `LP_TRANSFORMS_MODE`): slower, and right. Other programs that load the file have
to set that themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from onnxwright.files import AS_WRITTEN
from onnxwright.repairs import GraphRepair, Seen
from onnxwright.source import Source

if TYPE_CHECKING:
    import onnx_ir

_ENGINES: Final = ("onnxruntime", "openvino")
_OPERATORS: Final = {"QuantizeLinear", "DequantizeLinear"}


class AsWritten(GraphRepair):
    """Has engines compute quantized operators as they are written."""

    name = "as-written"
    summary = "has an engine compute quantized operators as the graph has them, not in whole numbers of its own"
    rank = 1.0

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes the engines that answer otherwise, of something that quantizes."""
        proofs = [one for one in (seen.proof, *seen.others) if one is not None and one.verdict != "proven"]
        wrong = [engine for engine in _ENGINES if any(one.candidate.split()[0] == engine for one in proofs)]
        if wrong and not seen.approach.has(self.name) and _quantizes(seen.source):
            yield " ".join(wrong)

    def mend(self, model: onnx_ir.Model, argument: str) -> int:
        """Writes the property."""
        model.metadata_props[AS_WRITTEN] = argument
        return sum(node.op_type in _OPERATORS for node in model.graph.all_nodes())


def _quantizes(source: Source) -> bool:
    if source.graph is None:
        return _calls_quantizing(source)
    from onnxwright.graph.reading import read_structure

    nodes: Any = read_structure(source.graph).graph.node
    return any(node.op_type in _OPERATORS for node in nodes)


def _calls_quantizing(source: Source) -> bool:
    """Whether a call of the module comes to an operator that quantizes, or pretends to."""
    from onnxwright.pytorch.dispatching import OperatorMode
    from onnxwright.pytorch.session import taken_by
    from onnxwright.pytorch.tipping import STEPPING

    class Watching(OperatorMode):
        is_found: bool = False

        def _operator(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            self.is_found = self.is_found or func in STEPPING or "quantize" in func._schema.name
            return func(*args, **kwargs)

    assert source.module is not None, "a source is a module or a graph"
    with Watching() as watch:
        taken_by(source.module, source.sampler, source.traced)
    return bool(watch.is_found)


REPAIR = AsWritten()
