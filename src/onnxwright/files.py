"""What an ONNX file says of itself, read without the `onnx` package: its digest, its boundary, its weights' types."""

from __future__ import annotations

import hashlib
import math
import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DATA_SUFFIX = ".data"
"""`model.onnx` keeps large weights beside it, in `model.onnx.data`."""

_CHUNK = 1 << 20
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
    """Returns the sha256 of an ONNX file; where weights lie beside it in `NAME.data`, of both, one after the other."""
    sha = hashlib.sha256()
    for part in (file, data_file(file)):
        if part == file or part.exists():
            with part.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    sha.update(chunk)
    return sha.hexdigest()


def data_file(file: Path) -> Path:
    """Returns where the weights of an ONNX file lie when they are not inside it."""
    return file.with_name(file.name + DATA_SUFFIX)


def outline(file: Path) -> Outline:
    """Reads the outline of an ONNX file. Weights are skipped over, so a large file costs no more than a small one.

    Field numbers are those of `onnx.proto`, wire types those of the Protocol Buffers encoding.

    Raises:
        ValueError: when the file is not a serialized ONNX model.
    """
    with file.open("rb") as stream:
        if file.stat().st_size == 0:
            raise ValueError(f"'{file.name}' is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return _outline(content)
            except IndexError as end:
                raise ValueError(f"'{file.name}' ends in the middle of a field") from end


class _Field(NamedTuple):
    number: int
    value: int
    start: int
    end: int


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
_TENSOR_DIMS, _TENSOR_TYPE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _outline(content: mmap.mmap) -> Outline:
    graph = next((field for field in _fields(content, 0, len(content)) if field.number == _GRAPH), None)
    if graph is None:
        raise ValueError("no graph in it")
    within = list(_fields(content, graph.start, graph.end))
    weights: Counter[int] = Counter()
    _count_constants(content, "model", 0, len(content), weights)
    constants = {_name(content, field, _TENSOR_NAME) for field in within if field.number == _INITIALIZER}
    inputs = (_name(content, field, _VALUE_NAME) for field in within if field.number == _INPUT)
    outputs = (_name(content, field, _VALUE_NAME) for field in within if field.number == _OUTPUT)
    return Outline(tuple(name for name in inputs if name not in constants), tuple(outputs), weights)


def _count_constants(content: mmap.mmap, message: str, start: int, end: int, weights: Counter[int]) -> None:
    if message == "tensor":
        code, elements = _tensor_size(content, start, end)
        weights[code] += elements
        return
    inside = _INSIDE[message]
    for field in _fields(content, start, end):
        if field.number in inside:
            _count_constants(content, inside[field.number], field.start, field.end, weights)


def _tensor_size(content: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    code, dims = 0, []
    for field in _fields(content, start, end):
        if field.number == _TENSOR_TYPE:
            code = field.value
        elif field.number == _TENSOR_DIMS and field.start == field.end:
            dims.append(field.value)
        elif field.number == _TENSOR_DIMS:
            dims += _packed(content, field.start, field.end)
    return code, math.prod(dims)


def _name(content: mmap.mmap, message: _Field, number: int) -> str:
    for field in _fields(content, message.start, message.end):
        if field.number == number:
            return content[field.start : field.end].decode()
    return ""


def _fields(content: mmap.mmap, at: int, end: int) -> Iterator[_Field]:
    while at < end:
        key, at = _varint(content, at)
        value, start, at = _payload(content, key & 7, at)
        if at > end:
            raise ValueError("a field is longer than its message")
        yield _Field(key >> 3, value, start, at)


def _payload(content: mmap.mmap, wire_type: int, at: int) -> tuple[int, int, int]:
    if wire_type == _VARINT:
        value, at = _varint(content, at)
        return value, at, at
    if wire_type == _BYTES:
        length, at = _varint(content, at)
        return 0, at, at + length
    if wire_type in (_FIXED64, _FIXED32):
        return 0, at, at + (8 if wire_type == _FIXED64 else 4)
    raise ValueError(f"wire type {wire_type} is not of Protocol Buffers")


def _packed(content: mmap.mmap, at: int, end: int) -> Iterator[int]:
    while at < end:
        value, at = _varint(content, at)
        yield value


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
