"""`torch.export`: runs the module on symbolic sizes and fake values.

It refuses a branch on a value and keeps `.item()`; what it assumes of sizes shows in the proof.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import onnx_ir as ir
import torch
from torch.export import Dim

from onnxwright.errors import RouteError
from onnxwright.findings import Finding
from onnxwright.graph.fake_quantization import quantized_as_onnx
from onnxwright.graph.provenance import keep_provenance
from onnxwright.graph.size_numbers import computed_as_python_does
from onnxwright.pytorch.lines import NOWHERE, Line, Place, found_at, line_of_forward
from onnxwright.pytorch.modules import TensorFunction, paths_of
from onnxwright.pytorch.uncompiled import functions_as_written
from onnxwright.routes import Exported, Route, Task, conformed, noting, silence, told
from onnxwright.routes.control_flow import control_flow_taken
from onnxwright.routes.fake_quantization import followed, translations
from onnxwright.routes.trace import sizes_taken
from onnxwright.routes.translations import own_translations
from onnxwright.signature import Signature
from onnxwright.watching.conditions import Condition
from onnxwright.watching.walking import translated

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_NOT_NEGATIVE = re.compile(r"u\d+ >= 0")


class Dynamo(Route):
    """`torch.export.export`, then `torch.onnx.export` on the exported program."""

    name = "dynamo"
    rank = 20.0
    opsets = range(18, 24)
    freezes_sizes = True

    def load(self) -> None:
        """Exports a module of no operator: only that loads all that is loaded on first use."""
        _load()

    def export(self, task: Task) -> Exported:
        """Exports the module with every named dim symbolic.

        Raises:
            RouteError: when either step refuses the module, or gives another opset.
        """
        function = TensorFunction(task.module, task.signature.input_names, task.signature.output_names)
        with silence(), torch.no_grad(), followed(), control_flow_taken(), functions_as_written(is_asked=False):
            try:
                program = _program(function, task)
                converted = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=task.opset,
                    input_names=list(task.signature.input_names),
                    output_names=list(task.signature.output_names),
                    verbose=False,
                    custom_translation_table={**translations(), **own_translations()},
                )
            except Exception as problem:  # torch.export raises types of every layer
                raise RouteError(told(problem)) from problem
        assert converted is not None
        model: ir.Model = converted.model
        if model.opset_imports.get("") != task.opset:
            raise RouteError(f"the exporter wrote opset {model.opset_imports.get('')}; asked for {task.opset}.")
        computed_as_python_does(model, *_size_numbers(converted.exported_program or program))
        model = quantized_as_onnx(keep_provenance(model, paths_of(task.module)))
        assumed = tuple(_assumed(program, task))
        exported = conformed(model, task, _one_a_line(_dropped(program)))
        return noting(exported, assumed=assumed, taken=_lost(program, task))


class _Either(torch.nn.Module):
    """Has an operator in it that PyTorch follows by dynamo, which learns PyTorch's functions at its first use."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))
        return answer


@functools.cache
def _load() -> None:
    with silence():
        program = torch.export.export(_Either(), (torch.zeros(1),))
        torch.onnx.export(program, dynamo=True, verbose=False)


def _program(function: torch.nn.Module, task: Task) -> torch.export.ExportedProgram:
    shapes = {"tensors": tuple(_symbolic(task))}
    arguments = tuple(task.sample.values())
    try:
        return torch.export.export(function, arguments, dynamic_shapes=shapes, strict=False)
    except Exception as first:  # noqa: BLE001 - what non-strict mode can't follow (numpy, say), strict mode sometimes can
        try:
            return torch.export.export(function, arguments, dynamic_shapes=shapes, strict=True)
        except Exception:  # noqa: BLE001 - the first refusal is the one to tell
            raise first from None


def _assumed(program: torch.export.ExportedProgram, task: Task) -> Iterator[Condition]:
    """What `torch.export` takes for granted of sizes: the ONNX exporter drops all of it."""
    axes = _axes(program, task.signature)
    symbols: dict[Any, str] = {}
    root = Place("", line_of_forward(task.module) or NOWHERE)
    for size, dim in axes:
        if isinstance(size, int):
            yield Condition(f"dims[{dim!r}] == {size}", (dim,), root)
        elif symbols.setdefault(size.node.expr, dim) != dim:
            other = symbols[size.node.expr]
            yield Condition(f"dims[{dim!r}] == dims[{other!r}]", (dim, other), root)
    environment = next((size.node.shape_env for size, _ in axes if not isinstance(size, int)), None)
    if environment is not None:
        placed = [(guard, _place(guard) or root) for guard in environment.guards]
        yield from translated(environment, placed, symbols)


def _size_numbers(program: torch.export.ExportedProgram) -> tuple[list[float], set[str]]:
    """The floats that sizes are computed with, and the names of floats that are computed from sizes."""
    graphs = [part.graph for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    nodes = [node for graph in graphs for node in graph.nodes]
    symbolic = [
        node for node in nodes if isinstance(node.meta.get("val"), (torch.SymFloat, torch.SymInt, torch.SymBool))
    ]
    names = {node.name for node in symbolic if isinstance(node.meta["val"], torch.SymFloat)}
    return [one for node in symbolic for one in node.args if isinstance(one, float)], names


def _lost(program: torch.export.ExportedProgram, task: Task) -> dict[str, Finding]:
    """Sizes of which Python makes numbers, and which nothing in the program is computed from.

    `torch.export` follows such numbers as far as they are computed with. What is only decided with them is kept as it
    was for the sample.
    """
    followed = {
        symbol
        for node in program.graph.nodes
        if isinstance(node.meta.get("val"), torch.SymInt | torch.SymFloat) and node.users
        for symbol in node.meta["val"].node.expr.free_symbols
    }
    known = {
        dim
        for size, dim in _axes(program, task.signature)
        if not isinstance(size, int) and followed & size.node.expr.free_symbols
    }
    return {dim: found for dim, found in sizes_taken(task).items() if dim not in known}


def _axes(program: torch.export.ExportedProgram, signature: Signature) -> list[tuple[Any, str]]:
    """The size that the program has for each axis with a named dim."""
    inputs = [node.meta["val"] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    return [
        (tensor.shape[axis], dim)
        for tensor, spec in zip(inputs, signature.inputs, strict=True)
        for axis, dim in enumerate(spec.shape)
        if isinstance(dim, str)
    ]


def _place(guard: Any) -> Place | None:
    frame: Any = guard.sloc.framework_loc
    if frame is None or isinstance(frame, str):
        return None
    line = Line(frame.filename, frame.lineno)
    return Place("", line) if line.is_users else None


def _dropped(program: torch.export.ExportedProgram) -> Iterator[Finding]:
    """Assertions about values that come from the inputs, which the ONNX graph won't make."""
    for node in program.graph.nodes:
        if node.target is not torch.ops.aten._assert_scalar.default:
            continue
        answer: Any = getattr(node.args[0], "meta", {}).get("val")
        if not isinstance(answer, torch.SymBool):
            continue
        asserted = answer.node.expr
        is_of_values = any(symbol.name.startswith("u") for symbol in asserted.free_symbols)
        if not is_of_values or _NOT_NEGATIVE.fullmatch(str(asserted)):
            continue
        lines = [Line(file, int(number)) for file, number in _FRAME.findall(node.meta.get("stack_trace") or "")]
        stack = [path for path, _ in (node.meta.get("nn_module_stack") or {"": ("", None)}).values()]
        module = stack[-1].removeprefix("module").removeprefix(".")
        place = next((Place(module, line) for line in reversed(lines) if line.is_users), None)
        message = f"`torch.export` assumes `{asserted}`, and the graph does not check it."
        yield found_at(place, "guard-dropped", message)


def _one_a_line(findings: Iterable[Finding]) -> list[Finding]:
    return list({found.where or found.message: found for found in findings}.values())


def _symbolic(task: Task) -> Iterator[dict[int, object]]:
    """The axes of each input that are symbolic; not one of size 1 in the sample, of which `torch.export` makes none."""
    for spec in task.signature.inputs:
        sizes = task.sample[spec.name].shape
        named = [axis for axis, dim in enumerate(spec.shape) if isinstance(dim, str)]
        yield {axis: Dim.STATIC if sizes[axis] == 1 else Dim.DYNAMIC for axis in named}


ROUTE = Dynamo()
