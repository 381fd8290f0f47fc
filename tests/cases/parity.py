"""Every case that runtimes are held to, as a graph, with what the graph itself answers at some points."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from cases import adversary, architectures, traps

from onnxwright.backends import Array, Session
from onnxwright.errors import EngineError, RouteError
from onnxwright.samples import FLIPPED, PADDED_LEFT, PADDED_RIGHT, TYPICAL
from onnxwright.source import Source
from onnxwright.stages.export import export
from onnxwright.stages.load import load
from onnxwright.tolerance import RUN_TO_RUN, SAME_PRECISION, distance

CASES = {
    **traps.PROVEN,
    **traps.RIGHT_OR_REFUSED,
    **adversary.PROVEN,
    **adversary.RIGHT_OR_REFUSED,
    # One that `rules/test_architectures.py` hasn't, with layers of two kinds.
    "modernbert": architectures.ORDINARY["modernbert"],
}
UNWRITTEN = {"rolling-window"}
"""Cases of which neither route writes a graph, right or wrong."""
LIMIT = SAME_PRECISION.limit(RUN_TO_RUN)


@functools.cache
def exported(name: str) -> tuple[Source, ir.Model | None]:
    """A case's source, and its graph as the first route writes it that exports it, right or wrong."""
    module, example, dims = CASES[name]()
    source = load(module, example_inputs=example, dims=dims)
    for way in ("trace", "script"):
        try:
            return source, export(source, route_name=way).model
        except RouteError:
            continue
    return source, None


@functools.cache
def points(name: str) -> list[Mapping[str, Array]]:
    """Feeds at the traced size and at others, padded and not."""
    source, _ = exported(name)
    small = {dim: min(sizes.most, 5) for dim, sizes in source.profile.items()}
    least = {dim: sizes.least for dim, sizes in source.profile.items()}
    chosen = ((source.traced, TYPICAL), (source.traced, PADDED_RIGHT), (small, PADDED_LEFT), (least, FLIPPED))
    return [source.sampler.draw(sizes, regime, seed=seed) for seed, (sizes, regime) in enumerate(chosen)]


def hold(session: Session, reference: Session, name: str, *, is_doubtful: bool = False) -> None:
    """Asserts that a session answers as the graph as written does, at every point of a case that this one takes."""
    told = [(feeds, expected) for feeds in points(name) if (expected := _answers(reference, feeds)) is not None]
    assert told
    for place, (feeds, expected) in enumerate(told):
        answered = session.run(feeds)
        assert answered.keys() == expected.keys()
        for output, array in expected.items():
            error = distance(*told_of(array, answered[output], is_doubtful=is_doubtful and place > 0))
            assert error <= LIMIT, (session.ran.backend, output, {name: array.shape for name, array in feeds.items()})


def told_of(expected: Array, answered: Array, *, is_doubtful: bool) -> tuple[Array, Array]:
    """What can be held against each other: what is no number where a row is masked whole is left out."""
    if not is_doubtful or expected.shape != answered.shape:
        return expected, answered
    return expected[~np.isnan(answered)], answered[~np.isnan(answered)]


def _answers(reference: Session, feeds: Mapping[str, Array]) -> Mapping[str, Array] | None:
    try:
        return reference.run(feeds)
    except EngineError:
        return None
