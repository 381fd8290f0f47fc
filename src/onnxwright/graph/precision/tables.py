"""Tables of embeddings in fewer bits: a row is widened after it was looked up.

`Gather (table, ids)` becomes `Cast (Gather (codes, ids)) * Gather (scales, ids)`, with int8 codes and a scale for each
row, or `Cast (Gather (table, ids))` of a float16 table. Operators of every opset do that, and every engine has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.errors import RouteError, UsageError, accepted
from onnxwright.graph.adding import held
from onnxwright.graph.guarding import complaint, refuse_gaps
from onnxwright.graph.passes import cloned, named
from onnxwright.graph.precision.floats import NOTHING
from onnxwright.graph.precision.formats import FLOAT, format_of
from onnxwright.graph.precision.rounding import Array
from onnxwright.graph.precision.weighing import constant, extent, lower
from onnxwright.graph.provenance import carry_provenance
from onnxwright.graph.typed import infer_types
from onnxwright.rewrites import Lowered

STORAGES: Final = ("int8", "float16")
_LEAST_ROWS: Final = 16


def with_compact_tables(model: ir.Model, storage: str, *, kept: Mapping[str, str] = NOTHING) -> Lowered:
    """Returns a graph whose tables are stored as int8 with a scale for each row, or as float16.

    A table that something else takes as well (a product with a tied weight) stays, and so do nodes in
    `kept`, for the reasons given there.

    Raises:
        UsageError: for another storage.
        RouteError: when what comes of it isn't valid ONNX.
    """
    if storage not in STORAGES:
        raise UsageError(f"tables: storage '{storage}' is unknown; expected {accepted(storage, STORAGES)}.")
    refuse_gaps(model)
    copy = cloned(model)
    infer_types(copy)
    left: dict[str, str] = {}
    for table in [value for value in copy.graph.initializers.values() if _is_table(value)]:
        nodes = [user for user, _ in table.uses()]
        reason = next(filter(None, (kept.get(named(node)) or _refusal(node, table, storage) for node in nodes)), "")
        if reason:
            left.update({named(node): reason for node in nodes})
        else:
            _store(copy.graph, table, nodes, storage)
    carry_provenance(model, copy)
    broken = complaint(model, copy)
    if broken:
        raise RouteError(f"the graph with tables in {storage} is not right: {broken} Report this.")
    return Lowered(copy, left)


def _is_table(value: ir.Value) -> bool:
    """Whether something looks up rows of a matrix."""
    tensor = constant(value)
    if tensor is None or len(tensor.shape) != 2 or tensor.shape.numpy()[0] < _LEAST_ROWS:
        return False
    return any(user.op_type == "Gather" and place == 0 for user, place in value.uses())


def _refusal(node: ir.Node, table: ir.Value, storage: str) -> str:
    is_lookup = node.op_type == "Gather" and not node.domain and node.inputs[1] is not table
    if not is_lookup or node.graph is not table.graph or table.is_graph_output():
        return "its table is not only looked up in"
    if node.attributes.get_int("axis", 0):
        return "it looks up columns"
    assert table.const_value is not None
    if storage == "float16" and extent(table.const_value).largest > format_of(storage).largest:
        return "its table has numbers beyond float16"
    if storage == "int8" and not np.isfinite(table.const_value.numpy()).all():
        return "its table holds NaN or infinity, and no scale holds these"
    return ""


def _store(graph: ir.Graph, table: ir.Value, nodes: list[ir.Node], storage: str) -> None:
    assert table.const_value is not None
    name = str(table.name)
    if storage == "float16":
        table.const_value, table.type = (
            lower(table.const_value, format_of(storage)),
            ir.TensorType(ir.DataType.FLOAT16),
        )
        for node in nodes:
            _widen(graph, node, None)
        return
    codes, scales = _rounded(table.const_value.numpy())
    narrow = held(graph, ir.tensor(codes, name=f"{name}_codes"))
    of_rows = held(graph, ir.tensor(scales, name=f"{name}_scales"))
    for node in nodes:
        node.replace_input_with(0, narrow)
        _widen(graph, node, of_rows)
    graph.initializers.pop(name)


def _widen(graph: ir.Graph, node: ir.Node, scales: ir.Value | None) -> None:
    """Has what took the rows take them in float32, under the same name."""
    rows = node.outputs[0]
    name, shape = str(rows.name), rows.shape
    made = [ir.node("Cast", [rows], attributes={"to": int(FLOAT)}, name=f"{name}_widened")]
    if scales is not None:
        looked_up = ir.node("Gather", [scales, node.inputs[1]], attributes={"axis": 0}, name=f"{name}_scales")
        made += [looked_up, ir.node("Mul", [made[0].outputs[0], looked_up.outputs[0]], name=f"{name}_scaled")]
    last = made[-1].outputs[0]
    rows.replace_all_uses_with(last, replace_graph_outputs=True)
    made[0].replace_input_with(0, rows)
    graph.insert_after(node, made)
    source = node.inputs[0]
    rows.name, rows.type = f"{name}_narrow", ir.TensorType(source.dtype or FLOAT) if source is not None else None
    for one in made[:-1]:
        one.outputs[0].name = f"{one.name}_output"
    last.name, last.shape, last.dtype = name, shape, FLOAT


def _rounded(table: Array) -> tuple[Array, Array]:
    """Whole numbers from -127 to 127, and a scale for each row."""
    scales = np.abs(table).max(axis=1, keepdims=True) / np.float32(127)
    scales[scales == 0] = 1
    return np.rint(table / scales).astype(np.int8), scales.astype(np.float32)
