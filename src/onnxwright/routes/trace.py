"""TorchScript tracing: runs the module once and records its operators.

Fast, and sure of every operator, but what Python decides on the way is kept as it was for the sample. Python's
reads of values are seen (see `onnxwright.reads`) and reported; its reads of sizes show in the proof.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor, nn

from onnxwright.differences import differences
from onnxwright.errors import RouteError
from onnxwright.findings import Finding
from onnxwright.graph.provenance import keep_places
from onnxwright.graph.snap_quantized import snap_quantized
from onnxwright.lines import Whereabouts
from onnxwright.modules import Pristine, TensorFunction, paths_of
from onnxwright.reads import Read, ValueReads
from onnxwright.routes import Exported, Task, conformed, silence, told
from onnxwright.routes.plain_attention import plain_attention

_SDPA_OPSET = 14


class Trace:
    """`torch.onnx.export(dynamo=False)` on the module as it is."""

    name = "trace"
    opsets = range(9, 21)

    def export(self, task: Task) -> Exported:
        """Traces the module at the sample.

        Raises:
            RouteError: when the exporter refuses the module.
        """
        reads = _watch(task)
        with _attention_for(task.opset):
            frozen = differences(task.module, task.signature, task.sample, task.twin) if task.twin else []
        function = TensorFunction(task.module, task.signature.input_names, task.signature.output_names)
        findings = [*map(_finding, reads), *(found.finding() for found in frozen)]
        return conformed(traced(function, task), task, _one_a_line(findings))


class _Watched(TensorFunction):
    reads: tuple[Read, ...] = ()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        whereabouts = Whereabouts(self.module)
        watch = ValueReads(whereabouts)
        watch.mark(tensors)
        with whereabouts, watch:
            answered = super().forward(*tensors)
        self.reads = tuple(watch.found)
        return answered


def _watch(task: Task) -> tuple[Read, ...]:
    """Traces once only to see what Python reads; the trace itself is lost.

    What follows the tensors hides some operators (convolutions) from the tracer, so the graph comes from a second run,
    which also tells what can't be traced.
    """
    watched = _Watched(task.module, task.signature.input_names, task.signature.output_names)
    pristine = Pristine(task.module)
    with silence(), _attention_for(task.opset), torch.no_grad(), contextlib.suppress(Exception):
        torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it without annotations
            watched, tuple(task.sample.values()), check_trace=False, strict=False
        )
    pristine.restore()
    return watched.reads


def traced(function: nn.Module, task: Task) -> ir.Model:
    """Exports a flat function by tracing; scripted modules inside it keep their control flow.

    Raises:
        RouteError: when the exporter refuses it.
    """
    signature = task.signature
    axes = signature.dynamic_axes()
    with tempfile.TemporaryDirectory() as folder, silence(), _attention_for(task.opset), torch.no_grad():
        file = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(
                function,
                tuple(task.sample.values()),
                str(file),
                dynamo=False,
                opset_version=task.opset,
                input_names=list(signature.input_names),
                output_names=list(signature.output_names),
                dynamic_axes=axes,
                do_constant_folding=True,
                verbose=True,  # keeps the Python stack of each operator
            )
        except Exception as problem:  # the exporter and the user's forward may raise anything
            raise RouteError(told(problem)) from problem
        model = ir.load(file)
        ir.external_data.load_to_model(model)
    return snap_quantized(keep_places(model, paths_of(task.module)))


def _finding(read: Read) -> Finding:
    message = f"Python {read.what} that depends on an input; the traced graph keeps what it was for the sample."
    return read.place.finding(read.code, message, repair="route dynamo or script")


def _one_a_line(findings: Iterable[Finding]) -> list[Finding]:
    """What Python reads says more than the constant that comes of it."""
    return list({found.where: found for found in reversed(list(findings))}.values())[::-1]


def _attention_for(opset: int) -> contextlib.AbstractContextManager[None]:
    return plain_attention() if opset < _SDPA_OPSET else contextlib.nullcontext()


ROUTE = Trace()
