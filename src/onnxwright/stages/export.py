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
_TWIN_STEPS = (7, 8, 16, 1)
"""How far the second sample's sizes lie from the traced ones; some modules take only multiples of some size."""


def export(source: Source, *, route_name: str = "trace", opset: int = DEFAULT_OPSET) -> Exported:
    """Exports a source by one route, with dynamic axes under the signature's names, in evaluation mode.

    The module is handed back in the mode and state in which it came.

    Raises:
        UsageError: for an unknown route, or an opset that it can't write.
        RouteError: when the route can't export the module.
    """
    from onnxwright.pytorch.modules import Pristine, evaluation

    chosen = route(route_name, opset=opset)
    if source.module is None:
        raise UsageError(f"source '{source.name}': is a graph already; expected a PyTorch model to export.")
    sample = _tensors(source.sampler.draw(source.traced))
    pristine = Pristine(source.module)
    with evaluation(source.module):
        twin = twin_of(source)
        try:
            return chosen.export(Task(source.module, source.signature, sample, opset, twin))
        finally:
            pristine.restore()


def twin_of(source: Source) -> dict[str, Tensor]:
    """Returns a second sample near the traced one, each size and value another, that the module answers; else none."""
    import torch

    from onnxwright.pytorch.modules import Pristine, TensorFunction, tolerated

    assert source.module is not None
    function = TensorFunction(source.module, source.signature.input_names)
    for step in _TWIN_STEPS:
        sample = _tensors(source.sampler.draw(_stepped(source, step), seed=_TWIN_SEED))
        with Pristine(source.module), torch.no_grad(), tolerated():
            function(*sample.values())
            return sample
    return {}


def _stepped(source: Source, step: int) -> dict[str, int]:
    return {dim: _other(source.traced[dim], sizes.least, sizes.most, step) for dim, sizes in source.profile.items()}


def _other(traced: int, least: int, most: int, step: int) -> int:
    larger = min(traced + step, most)
    return larger if larger != traced else max(least, traced - step)


def _tensors(feeds: Tensors) -> dict[str, Tensor]:
    from onnxwright.pytorch.session import to_tensor

    return {name: to_tensor(array) for name, array in feeds.items()}
