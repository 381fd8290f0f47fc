"""The fusions for ONNX Runtime that `onnxscript` has: attention, norms, rotary embeddings, groups of queries.

They know graphs as `torch.export` gives them; of traced graphs they find little.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.borrowed import Borrowed


def _fuse(model: ir.Model) -> int:
    from onnxscript.rewriter.ort_fusions import optimize_for_ort

    before = model.graph.num_nodes()
    _, counts = optimize_for_ort(model)
    fused: int = sum(counts.values())
    return max(before - model.graph.num_nodes(), fused)


BORROWED = Borrowed(
    name="ort_fusions",
    summary="Fuses what `onnxscript` knows for ONNX Runtime.",
    targets=frozenset({"onnxruntime", "onnxruntime-cuda"}),
    change=_fuse,
)
