"""Every case in every runtime answers as the graph itself does, node by node; the optimizer is one of the runtimes."""

import functools

import numpy as np
import onnx_ir as ir
import pytest
from cases import adversary, architectures, traps
from cases.runtimes import RUNTIMES, as_written

from onnxwright.errors import EngineError, RouteError
from onnxwright.samples import FLIPPED, PADDED_LEFT, PADDED_RIGHT, TYPICAL
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
def exported(name):
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
def points(name):
    """What the graph as written answers at the traced size and at others, padded and not; where it takes them."""
    source, _ = exported(name)
    small = {dim: min(sizes.most, 5) for dim, sizes in source.profile.items()}
    least = {dim: sizes.least for dim, sizes in source.profile.items()}
    chosen = ((source.traced, TYPICAL), (source.traced, PADDED_RIGHT), (small, PADDED_LEFT), (least, FLIPPED))
    return [source.sampler.draw(sizes, regime, seed=seed) for seed, (sizes, regime) in enumerate(chosen)]


def answers(reference, feeds):
    try:
        return reference.run(feeds)
    except EngineError:
        return None


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", CASES)
def test_every_runtime_answers_as_the_graph_is_written(name, runtime, tmp_path):
    _, graph = exported(name)
    assert (graph is None) == (name in UNWRITTEN)
    if graph is None:
        return
    file = tmp_path / "given.onnx"
    ir.save(graph, file)
    reference = as_written(file)
    told = [(feeds, expected) for feeds in points(name) if (expected := answers(reference, feeds)) is not None]
    assert told
    for one in RUNTIMES[runtime](file):
        for place, (feeds, expected) in enumerate(told):
            answered = one.session.run(feeds)
            assert answered.keys() == expected.keys()
            for output, array in expected.items():
                error = distance(*_told_of(array, answered[output], is_doubtful=one.is_doubtful and place > 0))
                assert error <= LIMIT, (one.name, output, {name: array.shape for name, array in feeds.items()})


def test_a_wrong_plan_would_be_seen(tmp_path):
    _, graph = exported("masked-mean")
    file = tmp_path / "given.onnx"
    ir.save(graph, file)
    spoilt = ir.load(file)
    node = next(node for node in spoilt.graph if node.op_type == "Div")
    node.replace_input_with(0, node.inputs[1])
    ir.save(spoilt, tmp_path / "spoilt.onnx")
    feeds = points("masked-mean")[0]
    expected, answered = as_written(file).run(feeds), as_written(tmp_path / "spoilt.onnx").run(feeds)

    assert any(distance(*_told_of(expected[one], answered[one], is_doubtful=True)) > LIMIT for one in expected)


def _told_of(expected, answered, *, is_doubtful):
    """What can be held against each other: what is no number where a row is masked whole is left out."""
    if not is_doubtful or expected.shape != answered.shape:
        return expected, answered
    return expected[~np.isnan(answered)], answered[~np.isnan(answered)]
