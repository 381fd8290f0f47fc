"""Writes a graph to a file, its weights beside it where one file can't hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx_ir as ir

from onnxwright.files import data_file

_LARGEST_FILE: Final = 1_900_000_000
"""Protocol Buffers hold no more than 2 GiB, of which the graph itself takes some."""


def save_model(model: ir.Model, file: Path) -> None:
    """Writes a model; weights that are too large for one file go into `NAME.data` beside it."""
    weights = (value.const_value for value in model.graph.initializers.values())
    size = sum(weight.nbytes for weight in weights if weight is not None)
    ir.save(model, file, external_data=data_file(file).name if size > _LARGEST_FILE else None)
