"""Reads a graph without its weights: these stay in their file, and are mapped into memory where one is used.

`onnx_ir` maps weights that lie in a file of their own; those inside of the ONNX file are mapped here, which is read
around them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import onnx
import onnx_ir as ir

from onnxwright.files import data_file
from onnxwright.graph.saving import GRAPH, INITIALIZER, RAW
from onnxwright.graph.weights import LEAST_BYTES, as_inputs, is_elsewhere
from onnxwright.wire import Field, fields, head

_PAGE: Final = 4096
"""Where weights in a file of their own begin, as ONNX advises, so that they can be mapped."""


def read_model(file: Path) -> ir.Model:
    """Reads a model whose weights are views of the files in which they lie.

    Those of branches and attributes are loaded, where they lie outside of the file.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    message, inside = _read(file)
    model = ir.from_proto(message)
    ir.external_data.set_base_dir(model.graph, file.parent)
    for name in inside:
        weight = model.graph.initializers[name].const_value
        assert isinstance(weight, ir.ExternalTensor)
        weight.base_dir = ""  # it is the file itself, wherever that is linked from
    _load_inner(model, file.parent)
    return model


def write_apart(file: Path, place: Path) -> None:
    """Writes an ONNX file once more, as it is but for the graph's large weights: these come into `NAME.data` beside it.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    message, _ = _read(file)
    beside = data_file(place)
    with beside.open("wb") as data:
        for tensor in filter(is_elsewhere, message.graph.initializer):
            numbers = _elsewhere(tensor, file.parent)
            data.write(bytes(-data.tell() % _PAGE))
            _lies_in(tensor, beside.name, data.tell(), len(numbers))
            data.write(numbers)
    place.write_bytes(message.SerializeToString())


def read_structure(file: Path) -> onnx.ModelProto:
    """Reads a model with large weights, wherever they lie, as inputs: what can be checked without them.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    model = as_inputs(_read(file)[0])
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for tensor in _inside(nodes):
            if is_elsewhere(tensor):  # what checks a model looks for it in the folder where it runs
                tensor.dims[:] = [0]
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
    return model


def _inside(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """The tensors in attributes, branches and loops of nodes."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from graph.initializer
            yield from _inside(graph.node)


def read_outline(file: Path) -> onnx.ModelProto:
    """Reads a model of which the large weights that lie in its own file have a type and dims, and no numbers.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    model, names = _read(file)
    inside = set(names)
    for tensor in model.graph.initializer:
        if tensor.name in inside:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    return model


def _load_inner(model: ir.Model, folder: Path) -> None:
    """Loads what lies elsewhere and is no weight of the graph itself: of a branch, or an attribute."""
    for graph in model.graphs():
        for value in graph.initializers.values() if graph is not model.graph else ():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _loaded(value.const_value)
    functions = (node for function in model.functions.values() for node in function.all_nodes())
    for node in (*model.graph.all_nodes(), *functions):
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                attribute.value.base_dir = folder
                node.attributes[name] = ir.AttrTensor(name, _loaded(attribute.value))


def _loaded(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    (found,) = ir.external_data.convert_tensors_from_external([tensor])
    return found


def _read(file: Path) -> tuple[onnx.ModelProto, list[str]]:
    """The model with its large weights as lying in its own file, and their names."""
    inside: list[str] = []
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            parts = list(_around(content, str(file.absolute()), inside))
        except IndexError as end:
            raise ValueError(f"'{file.name}' ends in the middle of a field") from end
    return onnx.ModelProto.FromString(b"".join(parts)), inside


def _around(content: mmap.mmap, place: str, inside: list[str]) -> Iterator[bytes]:
    for field in fields(content, 0, len(content)):
        if field.number == GRAPH:
            graph = b"".join(_around_weights(content, field, place, inside))
            yield head(GRAPH, len(graph)) + graph
        else:
            yield content[field.begin : field.end]


def _around_weights(content: mmap.mmap, graph: Field, place: str, inside: list[str]) -> Iterator[bytes]:
    for field in fields(content, graph.start, graph.end):
        raw = _numbers(content, field) if field.number == INITIALIZER else None
        if raw is None:
            yield content[field.begin : field.end]
            continue
        rest = content[field.start : raw.begin] + content[raw.end : field.end]
        tensor = onnx.TensorProto.FromString(rest)
        _lies_in(tensor, place, raw.start, raw.end - raw.start)
        inside.append(tensor.name)
        described = tensor.SerializeToString()
        yield head(INITIALIZER, len(described)) + described


def _elsewhere(tensor: onnx.TensorProto, folder: Path) -> bytes:
    """The numbers of a weight that lies elsewhere."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    with (folder / told["location"]).open("rb") as stream:
        stream.seek(int(told.get("offset", 0)))
        numbers: bytes = stream.read(int(told.get("length", -1)))
        return numbers


def _lies_in(tensor: onnx.TensorProto, place: str, offset: int, length: int) -> None:
    """Has a weight lie at a place in a file."""
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("external_data")
    for key, value in {"location": place, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))


def _numbers(content: mmap.mmap, weight: Field) -> Field | None:
    """Where the numbers of a weight stand, if there are many."""
    if weight.end - weight.start <= LEAST_BYTES:
        return None
    parts = fields(content, weight.start, weight.end)
    return next((part for part in parts if part.number == RAW and part.end - part.start > LEAST_BYTES), None)
