"""A source as an ONNX graph, by one route."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from onnxwright.backends import Tensors
from onnxwright.errors import UsageError
from onnxwright.proof.box import distance
from onnxwright.proof.lattice import grid
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
    from onnxwright.pytorch.fake_quantization import called_plainly
    from onnxwright.pytorch.modules import Pristine, evaluation
    from onnxwright.pytorch.uncached import uncached
    from onnxwright.pytorch.unregistered import without_gradients

    chosen = route(route_name, opset=opset)
    if source.module is None:
        raise UsageError(f"source '{source.name}': is a graph already; expected a PyTorch model to export.")
    sample = _tensors(source.sampler.draw(source.traced))
    pristine = Pristine(source.module)
    ready = (evaluation, without_gradients, called_plainly, uncached)
    with contextlib.ExitStack() as entered:
        for enter in ready:
            entered.enter_context(enter(source.module))
        twin = twin_of(source)
        try:
            return chosen.export(Task(source.module, source.signature, sample, opset, twin))
        finally:
            pristine.restore()


def twin_of(source: Source) -> dict[str, Tensor]:
    """Returns a second sample near the traced one, each size and value another, that the module answers; else none."""
    from onnxwright.pytorch.session import taken_by

    assert source.module is not None
    samples = (
        taken_by(source.module, source.sampler, sizes, seed=_TWIN_SEED)
        for sizes in filter(source.is_within, _twin_sizes(source))
    )
    return next(filter(None, samples), {})


def _twin_sizes(source: Source) -> Iterator[dict[str, int]]:
    """Sizes beside the traced ones; for a part of the profile, where these lie outside of it, others of its sizes."""
    yield from (_stepped(source, step) for step in _TWIN_STEPS)
    if not source.is_within(_stepped(source, _TWIN_STEPS[0])):
        yield from sorted(filter(source.is_within, grid(source.profile)), key=functools.partial(_likeness, source))[:4]


def _likeness(source: Source, sizes: Mapping[str, int]) -> tuple[int, float]:
    same = sum(size == source.traced[dim] for dim, size in sizes.items())
    return same, distance(dict(sizes), source.traced)


def _stepped(source: Source, step: int) -> dict[str, int]:
    return {dim: _other(source.traced[dim], sizes.least, sizes.most, step) for dim, sizes in source.profile.items()}


def _other(traced: int, least: int, most: int, step: int) -> int:
    larger = min(traced + step, most)
    return larger if larger != traced else max(least, traced - step)


def _tensors(feeds: Tensors) -> dict[str, Tensor]:
    from onnxwright.pytorch.session import to_tensor

    return {name: to_tensor(array) for name, array in feeds.items()}
