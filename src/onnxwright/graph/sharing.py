"""Writes a variant of a graph that shares its unchanged weights with it, in one file of data."""

from __future__ import annotations

import os
from pathlib import Path

import onnx_ir as ir

from onnxwright.files import LARGEST_FILE, data_file
from onnxwright.graph.saving import save_model
from onnxwright.graph.weights import LEAST_BYTES


def save_variant(model: ir.Model, file: Path, base: Path, *, largest: int = LARGEST_FILE) -> None:
    """Writes a model that was made of the one in `base`, beside that; it refers to the data of `base` where it can.

    Weights that still are views of `base`'s data are not written again; new ones go into `NAME.data` of its own. Where
    `base` has no data beside it, the variant is written whole, as `save_model` does.

    Raises:
        ValueError: when the two are to lie in different folders, of which one could be moved alone.
    """
    if file.parent.resolve() != base.parent.resolve():
        raise ValueError(f"'{file}' can't share the weights of '{base}': expected both in one folder.")
    shared = data_file(base)
    values = [value for graph in model.graphs() for value in graph.initializers.values()]
    if not any(_lies_in(value.const_value, shared) for value in values):
        save_model(model, file, largest=largest)
        return
    before = [value.const_value for value in values]
    try:
        _write_new(values, file, shared)
        ir.save(model, file)
    finally:
        for value, weight in zip(values, before, strict=True):
            value.const_value = weight


def _write_new(values: list[ir.Value], file: Path, shared: Path) -> None:
    """Has each large weight lie in one of two files, and writes into the variant's own those that are new."""
    new = [value for value in values if _is_new(value.const_value, shared)]
    weights = [value.const_value for value in new if value.const_value is not None]
    if not weights:
        return
    place = data_file(file)
    written = ir.external_data.convert_tensors_to_external(weights, place.parent, place.name)
    for value, weight in zip(new, written, strict=True):
        value.const_value = weight


def _is_new(weight: ir.TensorProtocol | None, shared: Path) -> bool:
    if weight is None or weight.dtype == ir.DataType.STRING or _lies_in(weight, shared):
        return False
    return weight.nbytes > LEAST_BYTES or isinstance(weight, ir.ExternalTensor)


def _lies_in(weight: ir.TensorProtocol | None, file: Path) -> bool:
    return isinstance(weight, ir.ExternalTensor) and os.path.realpath(weight.path) == os.path.realpath(file)
