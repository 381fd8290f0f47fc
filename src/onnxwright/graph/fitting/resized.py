"""Writes a `Resize` as a product with a matrix along each axis: antialiased, or sampled in a way that TensorRT has not.

Interpolation is linear, so that what one axis becomes is the matrix that is interpolated from an identity. Sizes have
to be known. PyTorch writes `Resize` with `antialias` for `F.interpolate(…, antialias=True)`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
import onnx_ir as ir

from onnxwright.graph.adding import held
from onnxwright.graph.fitting import Fit

_MOST: Final = 4096
"""A matrix of more rows takes more memory than a picture is worth."""


def _rewrite(model: ir.Model) -> int:
    found = [node for node in model.graph.all_nodes() if node.op_type == "Resize" and not node.domain]
    return sum(_multiply(node, model.opset_imports[""]) for node in found)


def _multiply(node: ir.Node, opset: int) -> int:
    given, made, graph = node.inputs[0], node.outputs[0], node.graph
    is_typed = given is not None and given.dtype == ir.DataType.FLOAT
    changed = _changed(node) if is_typed and _is_refused(node) else None
    if given is None or given.shape is None or not changed or not isinstance(graph, ir.Graph):
        return 0
    value, nodes = given, list[ir.Node]()
    for axis, size in changed.items():
        matrix = _matrix(node, axis, size, opset)
        name = f"{made.name}_resized_{axis}"
        right = held(graph, ir.tensor(matrix, ir.DataType.FLOAT, name=name))
        order = list(range(len(given.shape)))
        order[axis], order[-1] = order[-1], order[axis]
        turned = ir.node("Transpose", [value], {"perm": order})
        product = ir.node("MatMul", [turned.outputs[0], right])
        back = ir.node("Transpose", [product.outputs[0]], {"perm": order})
        nodes += [turned, product, back]
        value = back.outputs[0]
    for place, one in enumerate(nodes):
        one.outputs[0].name = f"{made.name}_{one.op_type}_{place}"
    ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, [made], [value])
    return 1


def _is_refused(node: ir.Node) -> bool:
    """Whether it is one of those that TensorRT has not, and each axis is resized by itself."""
    given = node.attributes
    is_stretched = given.get_string("keep_aspect_ratio_policy", "stretch") == "stretch"
    mode = given.get_string("coordinate_transformation_mode", "half_pixel")
    by_scales = len(node.inputs) > 2 and node.inputs[2] is not None
    if by_scales and _scales(node) is None:
        return False
    return is_stretched and (given.get_int("antialias", 0) != 0 or mode == "half_pixel_symmetric")


def _changed(node: ir.Node) -> dict[int, int] | None:
    """The axes that are resized, with their sizes before; None where a size isn't known."""
    before, after = (None if value is None else value.shape for value in (node.inputs[0], node.outputs[0]))
    if before is None or after is None:
        return None
    scales, changed = _scales(node) or {}, dict[int, int]()
    for axis, (one, other) in enumerate(zip(before, after, strict=True)):
        if isinstance(one, int) and isinstance(other, int):
            if max(one, other) > _MOST:
                return None
            changed |= {axis: one} if one != other or scales.get(axis, 1.0) != 1.0 else {}
        elif one != other:
            return None
    return changed


def _scales(node: ir.Node) -> dict[int, float] | None:
    """The scale of each axis, where scales are given."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    tensor = None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)
    if tensor is None or not tensor.size:
        return None
    rank = len(node.outputs[0].shape or ())
    axes = [one % rank for one in node.attributes.get_ints("axes") or range(rank)]
    return dict(zip(axes, map(float, tensor.numpy()), strict=True))


def _matrix(node: ir.Node, axis: int, size: int, opset: int) -> Any:
    """What ONNX Runtime makes of an identity along its last axis, with the attributes of a node."""
    import onnxruntime

    attributes = {name: one.value for name, one in node.attributes.items() if name != "axes"}
    scales, after = _scales(node), (node.outputs[0].shape or ())[axis]
    name = "sizes" if scales is None else "scales"
    # A row that is doubled, since ONNX Runtime copies a picture whose size stays, whatever its scale.
    told = np.array([1, size, 2, after] if scales is None else [1, 1, 2, scales[axis]])
    told = told.astype(np.int64 if scales is None else np.float32)
    resize = onnx.helper.make_node("Resize", ["x", "", *([""] if scales is None else []), name], ["y"], **attributes)
    shapes: dict[str, list[int | None]] = {"x": [1, size, 1, size], "y": [1, size, 2, None]}
    kinds = [onnx.helper.make_tensor_value_info(one, onnx.TensorProto.FLOAT, shape) for one, shape in shapes.items()]
    graph = onnx.helper.make_graph([resize], "line", kinds[:1], kinds[1:], [onnx.numpy_helper.from_array(told, name)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.eye(size, dtype=np.float32)[None, :, None]})[0][0, :, 0]


FIT = Fit(
    name="resized",
    summary="Writes a `Resize` as a product with a matrix along each axis.",
    change=_rewrite,
    operators=frozenset({"Resize"}),
)
