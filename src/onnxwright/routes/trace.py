"""TorchScript tracing: runs the module once and records its operators.

Fast, and sure of every operator, but what Python decides on the way is kept as it was for the sample. Python's
reads of values are seen (see `onnxwright.pytorch.reads`) and reported; its reads of sizes show in the proof.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import onnx_ir as ir
import torch
from torch import Tensor, nn

from onnxwright.errors import RouteError
from onnxwright.findings import Finding
from onnxwright.graph.fake_quantization import quantized_as_onnx
from onnxwright.graph.provenance import keep_provenance
from onnxwright.pytorch.lines import Place, Whereabouts
from onnxwright.pytorch.modules import Pristine, TensorFunction, paths_of
from onnxwright.pytorch.reads import Read, SizeRead, ValueReads
from onnxwright.routes import Exported, Route, Task, conformed, noting, silence, told
from onnxwright.routes.fake_quantization import fake_quantization
from onnxwright.routes.left_out import put_in, weights_left_out
from onnxwright.routes.plain_attention import plain_attention
from onnxwright.routes.python_numbers import as_python_does
from onnxwright.signature import Signature
from onnxwright.watching.differences import differences

_SDPA_OPSET = 14


class Trace(Route):
    """`torch.onnx.export(dynamo=False)` on the module as it is."""

    name = "trace"
    rank = 0.0
    opsets = range(9, 21)
    freezes_sizes = True

    def export(self, task: Task) -> Exported:
        """Traces the module at the sample.

        Raises:
            RouteError: when the exporter refuses the module.
        """
        seen = _watch(task, task.sample)
        taken = _taken(task, seen) if task.twin else {}
        with _attention_for(task.opset):
            frozen = differences(task.module, task.signature, task.sample, task.twin) if task.twin else []
        function = TensorFunction(task.module, task.signature.input_names, task.signature.output_names)
        findings = [*map(_finding, seen.reads), *(found.finding() for found in frozen)]
        if not task.twin and task.signature.dims:
            findings.append(
                Finding("not-tried", "Whether a trace from another sample is the same: no second was found.")
            )
        if seen.problem:
            findings.append(Finding("unwatched", f"The module can't be watched while it is traced: {seen.problem}"))
        return noting(
            conformed(traced(function, task), task, _one_a_line(findings)), taken=taken, decided=tuple(seen.questions)
        )


class _Watched(TensorFunction):
    def __init__(self, task: Task) -> None:
        super().__init__(task.module, task.signature.input_names, task.signature.output_names)
        self.watch = ValueReads()
        self.is_complete = False

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        whereabouts = Whereabouts(self.module)
        self.watch = ValueReads(whereabouts)
        self.watch.mark(tensors)
        with whereabouts, self.watch:
            answer = super().forward(*tensors)
        self.is_complete = True
        return answer


class _Seen(NamedTuple):
    """What Python read while a module was traced, and why that could not be watched."""

    reads: Sequence[Read]
    sizes: Sequence[SizeRead]
    questions: Sequence[Place] = ()
    problem: str = ""


def _watch(task: Task, sample: Mapping[str, Tensor]) -> _Seen:
    """Traces once only to see what Python reads; the trace itself is lost.

    What follows the tensors hides some operators (convolutions) from the tracer, so the graph comes from a run of its
    own.
    """
    watched, problem = _Watched(task), ""
    with Pristine(task.module), silence(), _attention_for(task.opset), torch.no_grad():
        try:
            torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it without annotations
                watched, tuple(sample.values()), check_trace=False, strict=False
            )
        except (Exception, SystemExit) as refusal:  # noqa: BLE001 - the user's forward may raise anything
            # What follows the tensors hides some operators: in the end the tracer may miss the way to an output.
            problem = "" if watched.is_complete else told(refusal)
    watch = watched.watch
    return _Seen(tuple(watch.found), tuple(watch.sizes), tuple(dict.fromkeys(watch.questions)), problem)


def sizes_taken(task: Task) -> dict[str, Finding]:
    """Says of each dim where Python makes a number of its size, as far as a trace shows it."""
    return _taken(task, _watch(task, task.sample)) if task.twin else {}


def _taken(task: Task, one: _Seen) -> dict[str, Finding]:
    """Says of each dim where Python makes a number of its size: one that is another in the other sample.

    What is neither the size of a dim here nor there was computed from some, and may be of any.
    """
    other = _watch(task, task.twin)
    sizes, others = (_sizes(task.signature, sample) for sample in (task.sample, task.twin))
    varying = [dim for dim in sizes if sizes[dim] != others[dim]]
    message = "Python takes this size as a number; what it decides with it can't be followed."
    found: dict[str, Finding] = {}
    for place in dict.fromkeys(read.place for read in (*one.sizes, *other.sizes)):
        first, second = ([read.number for read in seen.sizes if read.place == place] for seen in (one, other))
        if first == second:
            continue
        pairs = [(before, after) for before, after in zip(first, second, strict=False) if before != after]
        dims = {dim for dim in varying if (sizes[dim], others[dim]) in pairs}
        is_known = len(first) == len(second) and all(
            pair in {(sizes[dim], others[dim]) for dim in dims} for pair in pairs
        )
        evidence = f"{first[:3]} with one sample, {second[:3]} with another."
        for dim in dims if is_known else varying:
            found.setdefault(dim, place.finding("size-read-in-python", message, evidence=evidence))
    return found


def _sizes(signature: Signature, sample: Mapping[str, Tensor]) -> dict[str, int]:
    return {
        dim: sample[spec.name].shape[axis]
        for spec in signature.inputs
        for axis, dim in enumerate(spec.shape)
        if isinstance(dim, str)
    }


def traced(function: nn.Module, task: Task) -> ir.Model:
    """Exports a flat function by tracing; scripted modules inside it keep their control flow.

    Raises:
        RouteError: when the exporter refuses it.
    """
    signature = task.signature
    axes = signature.dynamic_axes()
    function = _with_compiled_parts(function, task)
    with (
        tempfile.TemporaryDirectory() as folder,
        silence(),
        _attention_for(task.opset),
        fake_quantization(task.opset),
        as_python_does(task.opset),
        torch.no_grad(),
        weights_left_out(function) as weights,
    ):
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
        model = put_in(ir.load(file), weights)
    return quantized_as_onnx(keep_provenance(model, paths_of(task.module)))


def _with_compiled_parts(function: nn.Module, task: Task) -> nn.Module:
    """Traces a function that calls compiled modules beforehand: the exporter's own trace can't call them.

    Raises:
        RouteError: when the module raises.
    """
    is_mixed = not isinstance(function, torch.jit.ScriptModule) and any(
        isinstance(part, torch.jit.ScriptModule) for part in function.modules()
    )
    if not is_mixed:
        return function
    with silence(), torch.no_grad():
        try:
            traced: nn.Module = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it without annotations
                function, tuple(task.sample.values()), check_trace=False, strict=False
            )
        except Exception as problem:  # the user's forward may raise anything
            raise RouteError(told(problem)) from problem
    return traced


def _finding(read: Read) -> Finding:
    message = f"Python {read.what} that depends on an input; the traced graph keeps what it was for the sample."
    return read.place.finding(read.code, message, repair="route dynamo or script")


def _one_a_line(findings: Iterable[Finding]) -> list[Finding]:
    """What Python reads says more than the constant that comes of it."""
    return list({found.where or found.message: found for found in reversed(list(findings))}.values())[::-1]


def _attention_for(opset: int) -> contextlib.AbstractContextManager[None]:
    return plain_attention() if opset < _SDPA_OPSET else contextlib.nullcontext()


ROUTE = Trace()
