"""Writes a `Resize` as a product with a matrix along each axis: antialiased, or sampled in a way that TensorRT has not.

Interpolation is linear, so that what one axis becomes is the matrix that is interpolated from an identity. Sizes have
to be known. PyTorch writes `Resize` with `antialias` for `F.interpolate(…, antialias=True)`; other exporters write such
that keeps the shape of a picture, or cuts a part out of it, with a number for what lies outside.
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
    outside = _outside(node, changed, opset)
    if outside.any():
        filling = held(graph, ir.tensor(outside, ir.DataType.FLOAT, name=f"{made.name}_outside"))
        nodes.append(ir.node("Add", [value, filling]))
        value = nodes[-1].outputs[0]
    for place, one in enumerate(nodes):
        one.outputs[0].name = f"{made.name}_{one.op_type}_{place}"
    ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, [made], [value])
    return 1


def _is_refused(node: ir.Node) -> bool:
    """Whether it is one of those that TensorRT has not, and each axis is resized by itself."""
    given = node.attributes
    by_scales = len(node.inputs) > 2 and node.inputs[2] is not None
    if by_scales and _scales(node) is None:
        return False
    if (_is_cut(node) and _numbers(node, 1) is None) or (_keeps_its_shape(node) and _numbers(node, 3) is None):
        return False
    is_shifted = given.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel_symmetric"
    return given.get_int("antialias", 0) != 0 or is_shifted or _is_cut(node) or _keeps_its_shape(node)


def _is_cut(node: ir.Node) -> bool:
    return node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"


def _keeps_its_shape(node: ir.Node) -> bool:
    by_sizes = len(node.inputs) > 3 and node.inputs[3] is not None
    return by_sizes and node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch"


def _changed(node: ir.Node) -> dict[int, int] | None:
    """The axes that are resized, with their sizes before; None where a size isn't known."""
    before, after = (None if value is None else value.shape for value in (node.inputs[0], node.outputs[0]))
    if before is None or after is None:
        return None
    scales, changed = _scales(node) or {}, dict[int, int]()
    kept = _axes(node) if _is_cut(node) or _keeps_its_shape(node) else []
    for axis, (one, other) in enumerate(zip(before, after, strict=True)):
        if isinstance(one, int) and isinstance(other, int):
            if max(one, other) > _MOST:
                return None
            changed |= {axis: one} if one != other or scales.get(axis, 1.0) != 1.0 or axis in kept else {}
        elif one != other or axis in kept:
            return None
    return changed


def _scales(node: ir.Node) -> dict[int, float] | None:
    """The scale of each axis, where scales are given."""
    numbers = _numbers(node, 2)
    return None if numbers is None else dict(zip(_axes(node), map(float, numbers), strict=True))


def _axes(node: ir.Node) -> list[int]:
    rank = len(node.outputs[0].shape or ())
    return [one % rank for one in node.attributes.get_ints("axes") or range(rank)]


def _numbers(node: ir.Node, place: int) -> Any:
    """What is given at a place, where it is constant and not empty."""
    value = node.inputs[place] if len(node.inputs) > place else None
    tensor = None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)
    return None if tensor is None or not tensor.size else tensor.numpy()


def _matrix(node: ir.Node, axis: int, size: int, opset: int, *, filling: float = 0.0) -> Any:
    """What ONNX Runtime makes of an identity along its last axis, with the attributes of a node."""
    attributes = {name: one.value for name, one in node.attributes.items()}
    attributes |= {"axes": [2, 3], "extrapolation_value": filling}
    scales, after = _scales(node), (node.outputs[0].shape or ())[axis]
    # A row that is doubled, since ONNX Runtime copies a picture whose size stays, whatever its scale.
    beside, told = 1, (2, after if scales is None else scales[axis])
    if _keeps_its_shape(node):
        ruling, asked = _ruling(node)
        beside, told = _sizes_before(node)[ruling], (asked[ruling], asked[axis])
    name = "sizes" if scales is None else "scales"
    numbers = {name: np.array(told, np.int64 if scales is None else np.float32)}
    if _is_cut(node):
        numbers["roi"] = _part(node, axis)
    return _answered(attributes, numbers, (1, size, beside, size), opset)


def _ruling(node: ir.Node) -> tuple[int, dict[int, int]]:
    """The axis by whose scale all are resized where the shape is kept, and the sizes that are asked for."""
    asked = dict(zip(_axes(node), map(int, _numbers(node, 3)), strict=True))
    before = _sizes_before(node)
    by_scale = sorted(asked, key=lambda axis: asked[axis] / before[axis])
    is_within = node.attributes.get_string("keep_aspect_ratio_policy", "stretch") == "not_larger"
    return by_scale[0 if is_within else -1], asked


def _sizes_before(node: ir.Node) -> dict[int, int]:
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    return {axis: size for axis, size in enumerate(shape or ()) if isinstance(size, int)}


def _part(node: ir.Node, axis: int) -> Any:
    """What is cut out: all of the row beside, and of the axis what the node says."""
    starts, ends = _numbers(node, 1).reshape(2, -1)
    place = _axes(node).index(axis)
    return np.array([0, starts[place], 1, ends[place]], np.float32)


def _outside(node: ir.Node, changed: dict[int, int], opset: int) -> Any:
    """What is added for places that lie outside of a picture, of which the product makes zero."""
    filling = node.attributes.get_float("extrapolation_value", 0.0)
    if not _is_cut(node) or not filling:
        return np.zeros(1, np.float32)
    rank = len(node.outputs[0].shape or ())
    is_within = np.ones([1] * rank, bool)
    for axis, size in changed.items():
        differs = _matrix(node, axis, size, opset, filling=1.0) != _matrix(node, axis, size, opset)
        is_within = is_within & ~differs.any(0).reshape([-1 if one == axis else 1 for one in range(rank)])
    return np.where(is_within, 0, filling).astype(np.float32)


def _answered(attributes: dict[str, Any], numbers: dict[str, Any], shape: tuple[int, ...], opset: int) -> Any:
    """The first row of what ONNX Runtime resizes of an identity that lies along the last axis."""
    import onnxruntime

    inputs = ["x", *(name if name in numbers else "" for name in ("roi", "scales", "sizes"))]
    resize = onnx.helper.make_node("Resize", inputs, ["y"], **attributes)
    shapes: dict[str, list[int | None]] = {"x": list(shape), "y": [*shape[:2], None, None]}
    kinds = [onnx.helper.make_tensor_value_info(one, onnx.TensorProto.FLOAT, each) for one, each in shapes.items()]
    held_by_graph = [onnx.numpy_helper.from_array(one, name) for name, one in numbers.items()]
    graph = onnx.helper.make_graph([resize], "line", kinds[:1], kinds[1:], held_by_graph)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    rows = np.eye(shape[-1], dtype=np.float32)[None, :, None].repeat(shape[2], axis=2)
    return session.run(None, {"x": rows})[0][0, :, 0]


FIT = Fit(
    name="resized",
    summary="Writes a `Resize` as a product with a matrix along each axis.",
    change=_rewrite,
    operators=frozenset({"Resize"}),
)
