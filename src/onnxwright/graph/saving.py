"""Writes a graph to a file, its weights beside it where they are large; one weight lies in memory at a time."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnx
import onnx_ir as ir

from onnxwright.files import LARGEST_FILE, data_file
from onnxwright.graph.weights import LEAST_BYTES, Weights, is_elsewhere, left_out, mapped_meanwhile
from onnxwright.wire import fields, head

GRAPH: Final = 7
INITIALIZER: Final = 5
RAW: Final = 9
"""Field numbers of `ModelProto.graph`, `GraphProto.initializer` and `TensorProto.raw_data`."""


def save_model(model: ir.Model, file: Path, *, largest: int = LARGEST_FILE) -> None:
    """Writes a model; weights that are together larger than `largest` go into `NAME.data` beside it."""
    weights = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    size = sum(weight.nbytes for weight in weights if weight is not None)
    with mapped_meanwhile(model):
        if size > largest:
            ir.save(model, file, external_data=data_file(file).name, size_threshold_bytes=LEAST_BYTES)
            return
        with left_out(model.graph) as large:
            message = ir.to_proto(model)
        _write(message, large, file)


@contextlib.contextmanager
def saved(model: ir.Model, name: str, beside: Path | None = None) -> Iterator[Path]:
    """Has a model lie in a file of that name while entered, in a folder of its own, in `beside` where that is given."""
    with tempfile.TemporaryDirectory(prefix="onnxwright-", dir=beside) as folder:
        file = Path(folder) / name
        save_model(model, file)
        yield file


def _write(message: onnx.ModelProto, weights: Weights, file: Path) -> None:
    """Writes a message with its weights in it, as one message, though it never is one in memory."""
    named = [one for one in message.graph.initializer if is_elsewhere(one)]
    kept = [one for one in message.graph.initializer if not is_elsewhere(one)]
    del message.graph.initializer[:]
    message.graph.initializer.extend(kept)
    heads = {one.name: _head(one, weights[one.name].nbytes) for one in named}
    begin, end = _split(message.graph.SerializeToString(), INITIALIZER)
    message.ClearField("graph")
    before, after = _split(message.SerializeToString(), GRAPH)
    length = len(begin) + sum(len(one) + weights[name].nbytes for name, one in heads.items()) + len(end)
    with file.open("wb") as stream:
        stream.write(before + head(GRAPH, length) + begin)
        for name, one in heads.items():
            stream.write(one)
            weights[name].tofile(stream)  # type: ignore[attr-defined]  # every tensor has it, though the protocol lacks it
        stream.write(end + after)


def _split(message: bytes, number: int) -> tuple[bytes, bytes]:
    """Splits a message where a field belongs: OpenVINO knows ONNX files by the order of the fields."""
    later = (field.begin for field in fields(message, 0, len(message)) if field.number > number)
    at = next(later, len(message))
    return message[:at], message[at:]


def _head(tensor: onnx.TensorProto, size: int) -> bytes:
    """What stands before the numbers of a weight in its graph."""
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    described: bytes = tensor.SerializeToString() + head(RAW, size)
    return head(INITIALIZER, len(described) + size) + described
