"""ONNX Runtime's own optimizer for transformers, run in a process of its own.

It knows graphs as TorchScript's exporter gives them with eager attention. It takes a file and gives one, raises or ends
the process on some graphs, and lets `torch` in; so, other than the rest of `graph`, this module writes a graph into a
temporary folder, and reads one from there.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Final

import onnx_ir as ir

from onnxwright.errors import RouteError
from onnxwright.graph.borrowed import Borrowed, take_over
from onnxwright.isolation import can_isolate, isolated

_SECONDS: Final = 600.0
_GIVEN, _TAKEN, _WEIGHTS = "given.onnx", "taken.onnx", "weights.data"


def _optimize(model: ir.Model) -> int:
    if not can_isolate():
        raise RouteError("this system can't fork a process to contain it.")
    with tempfile.TemporaryDirectory(prefix="onnxwright-") as name:
        folder = Path(name)
        ir.save(model, folder / _GIVEN, external_data=_WEIGHTS)
        isolated(lambda: _run(folder), seconds=_SECONDS, folder=name)
        optimized = ir.load(folder / _TAKEN)
        ir.external_data.load_to_model(optimized)
    return take_over(model, optimized)


def _run(folder: Path) -> None:
    from onnxruntime.transformers import optimizer

    logging.disable(logging.CRITICAL)
    optimized = optimizer.optimize_model(str(folder / _GIVEN), model_type="bert", opt_level=0)
    optimized.save_model_to_file(str(folder / _TAKEN), use_external_data_format=True)


BORROWED = Borrowed(
    name="ort-optimizer",
    summary="Fuses what ONNX Runtime's optimizer for transformers knows.",
    targets=frozenset({"onnxruntime", "onnxruntime-cuda"}),
    change=_optimize,
)
