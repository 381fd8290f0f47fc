"""Writes a transposed convolution with gaps in its kernel (`dilation=2`) as one whose kernel has zeros there."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxwright.graph.adding import held
from onnxwright.graph.fitting import Fit


def _rewrite(model: ir.Model) -> int:
    found = [node for node in model.graph.all_nodes() if node.op_type == "ConvTranspose" and not node.domain]
    return sum(_fill(node) for node in found)


def _fill(node: ir.Node) -> int:
    gaps = list(node.attributes.get_ints("dilations") or [])
    given, graph = node.inputs[1], node.graph
    tensor = None if given is None or given.is_graph_input() else ir.convenience.get_const_tensor(given)
    if all(one == 1 for one in gaps) or tensor is None or not isinstance(graph, ir.Graph):
        return 0
    kernel = tensor.numpy()
    sizes = [(size - 1) * gap + 1 for size, gap in zip(kernel.shape[2:], gaps, strict=True)]
    wide = np.zeros([*kernel.shape[:2], *sizes], kernel.dtype)
    wide[:, :, *(slice(None, None, gap) for gap in gaps)] = kernel
    name = f"{tensor.name or node.outputs[0].name}_with_gaps_of_{'_'.join(map(str, gaps))}"
    node.replace_input_with(1, held(graph, ir.tensor(wide, tensor.dtype, name=name)))
    node.attributes["dilations"] = ir.AttrInt64s("dilations", [1] * len(gaps))
    if "kernel_shape" in node.attributes:
        node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", sizes)
    return 1


FIT = Fit(
    name="dilated_kernels",
    summary="Writes zeros into the gaps of a transposed convolution's kernel.",
    change=_rewrite,
    operators=frozenset({"ConvTranspose"}),
    words=("cudnn_impl",),
)
