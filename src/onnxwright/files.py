"""What an ONNX file says of itself, read without the `onnx` package: its digest, its boundary, its weights' types."""

from __future__ import annotations

import hashlib
import math
import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, TypeVar

from onnxwright.wire import Field, fields, packed, text

DATA_SUFFIX = ".data"
"""`model.onnx` keeps large weights beside it, in `model.onnx.data`."""

LARGEST_FILE = 1 << 28
"""So many bytes of weights lie in a graph; more lie beside it unless told, where engines map them and copy none."""
MOST_IN_ONE_FILE = (1 << 31) - (1 << 24)
"""Protocol Buffers hold no message of 2 GiB; some of it is the graph's."""

AS_WRITTEN = "onnxwright.as_written"
"""The property of a graph that names the engines which are to compute each quantized operator as it is."""
_AS_WRITTEN_ONCE = {"true": "onnxruntime"}
"""What the property was before it named engines: packages of that time have answers that were proven so."""
AS_WRITTEN_TOLD = "quantized operators as written"
"""What a session says of itself then."""

_CHUNK = 1 << 20
_Found = TypeVar("_Found")
_WEIGHT_TYPES = {
    1: "float32",
    10: "float16",
    11: "float64",
    16: "bfloat16",
    2: "uint8",
    3: "int8",
    21: "uint4",
    22: "int4",
}


class Outline(NamedTuple):
    """The boundary of a graph, in order, and how many elements of each ONNX type its constants hold."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Counter[int]

    @property
    def precision(self) -> str | None:
        """The type in which most weights are kept, or None without weights; indices, shapes and masks don't count."""
        kept = Counter({_WEIGHT_TYPES[code]: count for code, count in self.weights.items() if code in _WEIGHT_TYPES})
        return next((name for name, count in kept.most_common(1) if count), None)


def digest(file: Path) -> str:
    """Returns the sha256 of a file; of an ONNX file that keeps weights in others, of all, one after the other.

    First comes `NAME.data`, then those that it shares with another graph.
    """
    sha = hashlib.sha256()
    for part in (file, *_beside(file)):
        with part.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                sha.update(chunk)
    return sha.hexdigest()


def _beside(file: Path) -> list[Path]:
    try:
        shared = [file.parent / place for place in sorted(places(file))]
    except ValueError:  # no ONNX file, or a damaged one
        shared = []
    return [part for part in dict.fromkeys([data_file(file), *shared]) if part.is_file()]


def size_of(file: Path) -> int:
    """Returns how many bytes an ONNX file has, with those that keep weights of it."""
    return sum(part.stat().st_size for part in (file, *_beside(file)))


def data_file(file: Path) -> Path:
    """Returns where the weights of an ONNX file lie when they are not inside it."""
    return file.with_name(file.name + DATA_SUFFIX)


def places(file: Path) -> set[str]:
    """Returns where an ONNX file says that weights of it lie, relative to its folder.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    return read(file, lambda content: {place for one in _tensors(content) for place in _places(content, one)})


def is_inside(place: str) -> bool:
    """Whether the name of a file leads nowhere but into the folder from which it is read, or one inside of that."""
    return not any(kind(place).is_absolute() or ".." in kind(place).parts for kind in (PurePosixPath, PureWindowsPath))


def outline(file: Path) -> Outline:
    """Reads the outline of an ONNX file. Weights are skipped over, so a large file costs no more than a small one.

    Field numbers are those of `onnx.proto`, wire types those of the Protocol Buffers encoding.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    return read(file, _outline)


def properties(file: Path) -> dict[str, str]:
    """Returns the properties in the metadata of an ONNX file.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    return read(file, _properties)


def is_as_written(file: Path, engine: str) -> bool:
    """Whether a graph asks an engine for quantized operators as they are; what can't be read is for it to refuse."""
    try:
        asked = properties(file).get(AS_WRITTEN, "")
    except (OSError, ValueError):
        return False
    return engine in _AS_WRITTEN_ONCE.get(asked, asked).split()


def _properties(content: mmap.mmap) -> dict[str, str]:
    entries = [field for field in fields(content, 0, len(content)) if field.number == _PROPERTY]
    return {text(content, entry, _ENTRY_KEY): text(content, entry, _ENTRY_VALUE) for entry in entries}


def read(file: Path, how: Callable[[mmap.mmap], _Found]) -> _Found:
    """Returns what a function finds in the bytes of an ONNX file.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    with file.open("rb") as stream:
        if file.stat().st_size == 0:
            raise ValueError(f"'{file.name}' is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return how(content)
            except IndexError as end:
                raise ValueError(f"'{file.name}' ends in the middle of a field") from end


def graph_in(content: mmap.mmap) -> Field:
    """Returns where the graph lies in the bytes of an ONNX file.

    Raises:
        ValueError: when there is none.
    """
    graph = next((field for field in fields(content, 0, len(content)) if field.number == _GRAPH), None)
    if graph is None:
        raise ValueError("no graph in it")
    return graph


# Which fields of which message lead to constants: `_INSIDE["graph"][1] == "node"` reads GraphProto.node = 1.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "sparse": {1: "tensor"},
}
_GRAPH, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_NAME, _TENSOR_NAME = 7, 5, 11, 12, 1, 8
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_PLACE = 1, 2, 13
_PROPERTY = 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2


def _outline(content: mmap.mmap) -> Outline:
    graph = graph_in(content)
    within = list(fields(content, graph.start, graph.end))
    weights: Counter[int] = Counter()
    for code, elements in (_tensor_size(content, one) for one in _tensors(content)):
        weights[code] += elements
    constants = {text(content, field, _TENSOR_NAME) for field in within if field.number == _INITIALIZER}
    inputs = (text(content, field, _VALUE_NAME) for field in within if field.number == _INPUT)
    outputs = (text(content, field, _VALUE_NAME) for field in within if field.number == _OUTPUT)
    return Outline(tuple(name for name in inputs if name not in constants), tuple(outputs), weights)


def _tensors(content: mmap.mmap, message: str = "model", within: Field | None = None) -> Iterator[Field]:
    """Yields the fields that hold tensors, wherever in the model they stand."""
    within = within or Field(0, 0, 0, 0, len(content))
    if message == "tensor":
        yield within
        return
    inside = _INSIDE[message]
    for field in fields(content, within.start, within.end):
        if field.number in inside:
            yield from _tensors(content, inside[field.number], field)


def _places(content: mmap.mmap, tensor: Field) -> Iterator[str]:
    for entry in fields(content, tensor.start, tensor.end):
        if entry.number == _TENSOR_PLACE and text(content, entry, _ENTRY_KEY) == "location":
            yield text(content, entry, _ENTRY_VALUE)


def _tensor_size(content: mmap.mmap, tensor: Field) -> tuple[int, int]:
    code, dims = 0, []
    for field in fields(content, tensor.start, tensor.end):
        if field.number == _TENSOR_TYPE:
            code = field.value
        elif field.number == _TENSOR_DIMS and field.start == field.end:
            dims.append(field.value)
        elif field.number == _TENSOR_DIMS:
            dims += packed(content, field.start, field.end)
    return code, math.prod(dims)
