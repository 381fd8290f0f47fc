"""`torch.export`: runs the module on symbolic sizes and fake values.

It refuses a branch on a value and keeps `.item()`; what it assumes of sizes shows in the proof.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
import torch
from torch.export import Dim

from onnxwright.errors import RouteError
from onnxwright.graph.boundary import conform
from onnxwright.graph.provenance import keep_places
from onnxwright.modules import TensorFunction, paths_of
from onnxwright.routes import Exported, Task, silence, told
from onnxwright.signature import Signature


class Dynamo:
    """`torch.export.export`, then `torch.onnx.export` on the exported program."""

    name = "dynamo"
    opsets = range(18, 24)

    def export(self, task: Task) -> Exported:
        """Exports the module with every named dim symbolic.

        Raises:
            RouteError: when either step refuses the module, or gives another opset.
        """
        function = TensorFunction(task.module, task.signature.input_names, task.signature.output_names)
        with silence(), torch.no_grad():
            try:
                program = _program(function, task)
                converted = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=task.opset,
                    input_names=list(task.signature.input_names),
                    output_names=list(task.signature.output_names),
                    verbose=False,
                )
            except Exception as problem:  # torch.export raises types of every layer
                raise RouteError(told(problem)) from problem
        assert converted is not None
        model: ir.Model = converted.model
        if model.opset_imports.get("") != task.opset:
            raise RouteError(f"the exporter wrote opset {model.opset_imports.get('')}; asked for {task.opset}.")
        return Exported(conform(keep_places(model, paths_of(task.module)), task.signature))


def _program(function: torch.nn.Module, task: Task) -> torch.export.ExportedProgram:
    shapes = {"tensors": tuple(_symbolic(task.signature))}
    arguments = tuple(task.sample.values())
    try:
        return torch.export.export(function, arguments, dynamic_shapes=shapes, strict=False)
    except Exception as first:  # noqa: BLE001 - what non-strict mode can't follow (numpy, say), strict mode sometimes can
        try:
            return torch.export.export(function, arguments, dynamic_shapes=shapes, strict=True)
        except Exception:  # noqa: BLE001 - the first refusal is the one to tell
            raise first from None


def _symbolic(signature: Signature) -> Iterator[dict[int, object]]:
    for spec in signature.inputs:
        yield {axis: Dim.DYNAMIC for axis, dim in enumerate(spec.shape) if isinstance(dim, str)}


ROUTE = Dynamo()
