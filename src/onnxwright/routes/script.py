"""TorchScript scripting: compiles the module's source, so that branches and loops stay in the graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from onnxwright.errors import RouteError
from onnxwright.graph.size_numbers import computed_as_python_does
from onnxwright.pytorch.modules import TensorFunction
from onnxwright.routes import Exported, Route, Task, conformed, silence, told
from onnxwright.routes.trace import ROUTE as TRACE
from onnxwright.routes.trace import traced


class Script(Route):
    """`torch.jit.script` on the module, called from a traced function that flattens its outputs."""

    name = "script"
    rank = 25.0
    opsets = TRACE.opsets
    freezes_sizes = False

    def export(self, task: Task) -> Exported:
        """Compiles and exports the module.

        Raises:
            RouteError: when its source isn't TorchScript, or has no ONNX form.
        """
        with silence():
            try:
                compiled = torch.jit.script(task.module)
            except Exception as problem:  # the compiler raises types of its own, and whatever `inspect` raises
                raise RouteError(told(problem)) from problem
        function = TensorFunction(compiled, task.signature.input_names, task.signature.output_names)
        model = traced(function, task)
        computed_as_python_does(model, _numbers(compiled))
        return conformed(model, task)


def _numbers(compiled: Any) -> Iterator[float]:
    """The floats that stand in what was compiled, in all its methods."""
    graph = compiled.inlined_graph  # its nodes are gone with it
    for node in graph.findAllNodes("prim::Constant"):
        value = node.output().toIValue()
        if isinstance(value, float):
            yield value


ROUTE = Script()
