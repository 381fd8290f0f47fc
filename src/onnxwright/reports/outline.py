"""What an ONNX file is: its boundary, operators and weights, none of which are read."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from onnxwright import dtypes
from onnxwright.errors import MissingExtraError, SignatureError, SourceError
from onnxwright.files import data_file, digest
from onnxwright.reports.columns import columns

_SUB_BYTE_BITS: Final = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}


class Boundary(msgspec.Struct, frozen=True):
    """An input or output of a graph; an axis without a size or a name is `None`."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if dim is None else str(dim) for dim in self.shape)}]"


class Weights(msgspec.Struct, frozen=True):
    """The initializers of a graph: how many, how large, how many elements of each type, which files beside it."""

    count: int
    bytes: int
    elements: dict[str, int]
    files: tuple[str, ...]


class GraphReport(msgspec.Struct, frozen=True, tag="onnx", tag_field="kind"):
    """What an ONNX file is."""

    path: str
    sha256: str
    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[Boundary, ...]
    outputs: tuple[Boundary, ...]
    operators: dict[str, int]
    weights: Weights

    @property
    def text(self) -> str:
        """The report in columns."""
        return columns([("onnx", self.path), *_graph_rows(self)])


def outline(file: Path) -> GraphReport:
    """Describes an `.onnx` file.

    Raises:
        SourceError: when it is none.
        MissingExtraError: when the package `onnx` is not installed.
    """
    model = _load(file)
    nodes, tensors = _contents(model)
    operators = Counter(f"{node.domain}::{node.op_type}" if node.domain else str(node.op_type) for node in nodes)
    constants = {tensor.name for tensor in model.graph.initializer}
    return GraphReport(
        path=str(file),
        sha256=digest(file),
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        ir_version=model.ir_version,
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        inputs=tuple(_boundary(value) for value in model.graph.input if value.name not in constants),
        outputs=tuple(_boundary(value) for value in model.graph.output),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        weights=_weigh(tensors, file),
    )


def _load(file: Path) -> Any:
    try:
        importlib.import_module("onnx")
    except ImportError as missing:
        raise MissingExtraError(
            f"'{file}': reading a graph needs the package 'onnx'. "
            'Install it with `pip install "onnxwright[convert]"`.'
        ) from missing
    from onnxwright.graph.reading import read_outline

    try:
        model = read_outline(file)
    except Exception as refusal:  # protobuf raises a type of its own
        raise SourceError(
            f"'{file}' is not an ONNX model: {refusal}. Give a package folder or an .onnx file."
        ) from refusal
    if not model.graph.output:
        raise SourceError(f"'{file}' is not an ONNX model: no graph in it. Give a package folder or an .onnx file.")
    return model


def _contents(model: Any) -> tuple[list[Any], list[Any]]:
    """Returns every node and every initializer, those in the bodies of nodes and functions too."""
    nodes: list[Any] = []
    tensors: list[Any] = []
    waiting = [model.graph, *model.functions]
    while waiting:
        body = waiting.pop()
        tensors += getattr(body, "initializer", ())
        nodes += body.node
        for attribute in (attribute for node in body.node for attribute in node.attribute):
            waiting += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
    return nodes, tensors


def _boundary(value: Any) -> Boundary:
    kind = value.type.tensor_type
    dims = (dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim)
    return Boundary(value.name, _dtype_name(kind.elem_type), tuple(dims))


def _dtype_name(code: int) -> str:
    import onnx

    try:
        return dtypes.from_onnx(code)
    except SignatureError:
        return str(onnx.TensorProto.DataType.Name(code)).lower()


def _weigh(tensors: Sequence[Any], file: Path) -> Weights:
    elements: Counter[str] = Counter()
    for tensor in tensors:
        elements[_dtype_name(tensor.data_type)] += math.prod(tensor.dims)
    places = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    if data_file(file).exists():
        places.add(data_file(file).name)
    return Weights(
        count=len(tensors),
        bytes=sum(map(_byte_count, tensors)),
        elements=dict(elements.most_common()),
        files=tuple(sorted(place if (file.parent / place).is_file() else f"{place} (missing)" for place in places)),
    )


def _byte_count(tensor: Any) -> int:
    import onnx

    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind == "STRING":
        return sum(map(len, tensor.string_data))
    bits = _SUB_BYTE_BITS.get(kind) or int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize) * 8
    count: int = math.prod(tensor.dims)
    return math.ceil(count * bits / 8)


def _graph_rows(report: GraphReport) -> Iterator[Sequence[str]]:
    yield "sha256", report.sha256
    yield "producer", report.producer or "not said"
    yield "ir version", str(report.ir_version)
    yield from (("opset", domain, str(version)) for domain, version in report.opsets.items())
    yield from (("input", found.name, str(found)) for found in report.inputs)
    yield from (("output", found.name, str(found)) for found in report.outputs)
    yield "weights", f"{report.weights.count} tensors", f"{report.weights.bytes} bytes"
    yield from (("weights", dtype, f"{count} elements") for dtype, count in report.weights.elements.items())
    yield from (("external data", name) for name in report.weights.files)
    yield from (("operator", name, str(count)) for name, count in report.operators.items())
