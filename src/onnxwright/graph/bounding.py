"""The types with which numbers go into a graph and come out of it, beside those in which it computes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import onnx_ir as ir

from onnxwright import dtypes
from onnxwright.graph.adding import cast_to
from onnxwright.graph.reading import read_model
from onnxwright.graph.saving import save_model
from onnxwright.graph.typed import infer_types

_SINGLE, _DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE
_INT32, _INT64 = ir.DataType.INT32, ir.DataType.INT64
_WIDER: Mapping[ir.DataType, ir.DataType] = {
    ir.DataType.INT16: _INT32,
    ir.DataType.UINT16: _INT32,
    ir.DataType.UINT32: _INT64,
}
"""Types that hold all numbers of those that TensorRT has not."""


def cast_around(
    model: ir.Model, types: Mapping[ir.DataType, ir.DataType], leaving: Callable[[ir.Node], bool]
) -> set[ir.Node]:
    """Has a graph whose inputs or outputs have some types go on with others inside, by casts, which it returns.

    The casts beside inputs and outputs for which `leaving` says so are there already, and stay.
    """
    made = set[ir.Node]()
    for value in model.graph.inputs:
        to = types.get(value.dtype) if value.dtype is not None else None
        uses = [(user, place) for user, place in value.uses() if not leaving(user)]
        if to is not None and uses:
            cast = cast_to(value, to, f"{value.name}_inside")
            model.graph.insert_before(next(iter(model.graph)), cast)
            made.add(cast)
            for user, place in uses:
                user.replace_input_with(place, cast.outputs[0])
    for place, value in enumerate(model.graph.outputs):
        to, giver = types.get(value.dtype) if value.dtype is not None else None, value.producer()
        if to is not None and giver is not None and not leaving(giver):
            made.add(_cast_out(model.graph, place, value, to))
    return made


def _cast_out(graph: ir.Graph, place: int, value: ir.Value, inside: ir.DataType) -> ir.Node:
    """Has what gives an output give another value, of which a cast makes the output."""
    assert value.dtype is not None, "asked for by the caller"
    giver, declared, name = value.producer(), value.dtype, value.name
    assert giver is not None, "asked for by the caller"
    cast = cast_to(value, declared, str(name))
    value.name, value.type = f"{name}_inside", ir.TensorType(inside)
    graph.outputs[place] = cast.outputs[0]
    graph.append(cast)
    return cast


def widen_boundary(model: ir.Model) -> dict[str, tuple[ir.DataType, ir.DataType]]:
    """Declares inputs and outputs in types that TensorRT has, in place; returns, by name, the type before and after.

    Nothing that is computed changes by it: an input is widened where every node that takes it casts it, and one of
    float64 is rounded where every node rounds it to float32; of an output, the last cast is left to who reads it.
    """
    changed = dict[str, tuple[ir.DataType, ir.DataType]]()
    if not any(value.dtype in {_DOUBLE, *_WIDER} for value in (*model.graph.inputs, *model.graph.outputs)):
        return changed
    infer_types(model)
    for value in model.graph.inputs:
        to = _taken(value)
        if to is not None and value.dtype is not None:
            changed[str(value.name)] = (value.dtype, to)
            value.type = ir.TensorType(to)
    for value in model.graph.outputs:
        to = _given(value)
        giver = value.producer()
        if to is not None and value.dtype is not None and giver is not None:
            changed[str(value.name)] = (value.dtype, to)
            giver.attributes["to"] = ir.AttrInt64("to", int(to))
            value.type = ir.TensorType(to)
    return changed


@contextlib.contextmanager
def handed(file: Path, model: ir.Model | None = None) -> Iterator[tuple[Path, dict[str, str]]]:
    """The file to hand to TensorRT for another, and by name the types that the other declares for what differs there.

    A model that was read from the file is changed.
    """
    model = read_model(file) if model is None else model
    changed = {name: dtypes.from_onnx(int(declared)) for name, (declared, _) in widen_boundary(model).items()}
    if not changed:
        yield file, {}
        return
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / file.name
        save_model(model, taken)
        yield taken, changed


def _taken(value: ir.Value) -> ir.DataType | None:
    """The type in which an input can go in as well: all that takes it is a cast, of doubles one to float32."""
    users = [user for user, _ in value.uses()]
    is_cast = all(user.op_type == "Cast" and not user.domain for user in users)
    if not is_cast or value.is_graph_output():
        return None
    if value.dtype == _DOUBLE:
        return _SINGLE if all(user.attributes.get_int("to", 0) == int(_SINGLE) for user in users) else None
    return _WIDER.get(value.dtype) if value.dtype is not None else None


def _given(value: ir.Value) -> ir.DataType | None:
    """The type in which an output can come out as well: that from which it is cast, where the caller can cast it so."""
    giver = value.producer()
    before = giver.inputs[0] if giver is not None and giver.op_type == "Cast" and not giver.domain else None
    if before is None or value.dtype is None or value.uses():
        return None
    if value.dtype == _DOUBLE:
        return _SINGLE if before.dtype == _SINGLE else None
    is_whole = before.dtype in {_INT32, _INT64, ir.DataType.BOOL}
    return _WIDER.get(value.dtype) if is_whole else None
