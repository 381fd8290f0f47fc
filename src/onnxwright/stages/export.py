"""A source as an ONNX graph, by one route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnxwright.backends import Tensors
from onnxwright.errors import UsageError
from onnxwright.routes import Exported, Task, route
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_OPSET: Final = 18
"""Both exporters write it without converting, and every engine reads it."""
_TWIN_SEED = 3
_TWIN_STEP = 7


def export(source: Source, *, route_name: str = "trace", opset: int = DEFAULT_OPSET) -> Exported:
    """Exports a source by one route, with dynamic axes under the signature's names, in evaluation mode.

    The module is handed back in the mode and state in which it came.

    Raises:
        UsageError: for an unknown route, or an opset that it can't write.
        RouteError: when the route can't export the module.
    """
    from onnxwright.modules import Pristine, evaluation

    chosen = route(route_name, opset=opset)
    if source.module is None:
        raise UsageError(f"source '{source.name}': is a graph already; expected a PyTorch model to export.")
    sample = _tensors(source.sampler.draw(source.traced))
    twin = _tensors(source.sampler.draw(other_sizes(source), seed=_TWIN_SEED))
    pristine = Pristine(source.module)
    with evaluation(source.module):
        try:
            return chosen.export(Task(source.module, source.signature, sample, opset, twin))
        finally:
            pristine.restore()


def other_sizes(source: Source) -> dict[str, int]:
    """Returns sizes near the traced ones, each another where the profile allows."""
    return {dim: _other(source.traced[dim], sizes.least, sizes.most) for dim, sizes in source.profile.items()}


def _other(traced: int, least: int, most: int) -> int:
    larger = min(traced + _TWIN_STEP, most)
    return larger if larger != traced else max(least, traced - _TWIN_STEP)


def _tensors(feeds: Tensors) -> dict[str, Tensor]:
    from onnxwright.pytorch import to_tensor

    return {name: to_tensor(array) for name, array in feeds.items()}
