"""A source as an ONNX graph, by one route."""

from __future__ import annotations

from typing import Final

from onnxwright.errors import UsageError
from onnxwright.routes import Exported, Task, route
from onnxwright.source import Source

DEFAULT_OPSET: Final = 18
"""Both exporters write it without converting, and every engine reads it."""


def export(source: Source, *, route_name: str = "trace", opset: int = DEFAULT_OPSET) -> Exported:
    """Exports a source by one route, with dynamic axes under the signature's names, in evaluation mode.

    The module is handed back in the mode and state in which it came.

    Raises:
        UsageError: for an unknown route, or an opset that it can't write.
        RouteError: when the route can't export the module.
    """
    from onnxwright.modules import Pristine, evaluation
    from onnxwright.pytorch import to_tensor

    chosen = route(route_name, opset=opset)
    if source.module is None:
        raise UsageError(f"source '{source.name}': is a graph already; expected a PyTorch model to export.")
    feeds = source.sampler.draw(source.traced)
    sample = {name: to_tensor(array) for name, array in feeds.items()}
    pristine = Pristine(source.module)
    with evaluation(source.module):
        try:
            return chosen.export(Task(source.module, source.signature, sample, opset))
        finally:
            pristine.restore()
